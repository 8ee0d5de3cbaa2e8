"""Metrics, dashboard, alerts and logs, as they really arrive: `observed.py` runs what they are about."""

import json
import math
import re
import subprocess
import time
from itertools import combinations
from pathlib import Path

import pytest
import yaml

from tests.infra.observed import OBSERVABILITY, REPOSITORY, Observed, environment_has_prometheus, observed

TESTS = Path(__file__).parent / "alerts_test.yaml"
METRICS = (REPOSITORY / "docs" / "operations" / "metrics.md").read_text()
SELECTOR = re.compile(r"\b(?:scenehash:[\w:]+|ray_\w+)(?:\{[^}]*\})?")
RULES = [
    rule
    for group in yaml.safe_load((OBSERVABILITY / "alerts.yaml").read_text())["groups"]
    for rule in group["rules"]
]
ALERTS = {rule["alert"]: rule for rule in RULES if "alert" in rule}
DASHBOARD = json.loads((OBSERVABILITY / "dashboard.json").read_text())
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
CORE = re.compile(r"\[[-\d]+ [:,\d]+ [EWI] \d+ \d+\]|.*\(raylet\)")  # lines of Ray's core, which is C++

needs_prometheus = pytest.mark.skipif(
    not environment_has_prometheus(),
    reason="PROMETHEUS IS MISSING, ALERTS AND DASHBOARD AREN'T TESTED: apt-get install prometheus",
)


@pytest.fixture(scope="module")
def seen(store, tmp_path_factory):
    """What Prometheus, the logs and the terminals have seen."""
    with observed(store, tmp_path_factory.mktemp("observed")) as seen:
        yield seen


@pytest.mark.server
@needs_prometheus
@pytest.mark.parametrize(
    "arguments",
    [
        ("check", "config", OBSERVABILITY / "prometheus.yml"),
        ("check", "rules", "--lint-fatal", OBSERVABILITY / "alerts.yaml"),
        ("test", "rules", TESTS),
    ],
    ids=["config", "rules", "alerts"],
)
def test_promtool_is_content(arguments):
    done = subprocess.run(["promtool", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_each_alert_is_tested_documented_and_says_what_to_do():
    tested = set(re.findall(r'\{alertname="(\w+)"\}', TESTS.read_text()))
    documented = set(
        re.findall(r"^\| `(\w+)` \|", METRICS.partition("# Alerts")[2].partition("\n# ")[0], re.M)
    )
    assert tested == documented == ALERTS.keys()
    for alert in ALERTS.values():
        assert alert["annotations"].keys() == {"summary", "action"}
        assert alert["labels"]["severity"] in ("page", "ticket")


def test_the_dashboard_is_well_formed():
    (source,) = yaml.safe_load((OBSERVABILITY / "grafana" / "datasources.yaml").read_text())["datasources"]
    (variable,) = DASHBOARD["templating"]["list"]
    assert (variable["type"], variable["query"]) == ("datasource", source["type"])
    assert variable["current"] == {"text": source["name"], "value": source["uid"]}
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
    assert len({panel["title"] for panel in PANELS}) == len(PANELS)
    for panel in PANELS:
        assert panel["title"]
        assert panel["description"]
        assert panel["fieldConfig"]["defaults"]["unit"]
        assert panel["targets"]
        for asking in (panel, *panel["targets"]):
            assert asking["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        references = [target["refId"] for target in panel["targets"]]
        assert len(set(references)) == len(references)
    for one, other in combinations([panel["gridPos"] for panel in DASHBOARD["panels"]], 2):
        apart_x = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        apart_y = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert apart_x or apart_y, (one, other)
    assert max(panel["gridPos"]["x"] + panel["gridPos"]["w"] for panel in PANELS) <= 24


def test_what_is_red_on_the_dashboard_is_what_an_alert_looks_for():
    """A limit that is changed in one file only would tell two stories."""
    coloured = [panel for panel in PANELS if "thresholds" in panel["fieldConfig"]["defaults"]]
    limits = [
        (panel["description"], step["value"])
        for panel in coloured
        for step in panel["fieldConfig"]["defaults"]["thresholds"]["steps"]
        if step["color"] == "red"
    ]
    assert len(limits) > 5
    for description, limit in limits:
        (alert,) = re.findall(r"[Aa]lert (\w+)", description)
        compared = re.findall(r"(?:>|==) ([\d.]+(?: \* \d+)*)", ALERTS[alert]["expr"])
        assert limit in [math.prod(map(float, product.split("*"))) for product in compared], alert


@needs_prometheus
@pytest.mark.timeout(300)
class TestWhatRuns:
    @pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
    def test_each_query_of_the_dashboard_returns_data(self, seen: Observed, panel):
        for target in panel["targets"]:
            series = seen.query(target["expr"].replace("$__rate_interval", "1m"))
            assert series, target["expr"]
            named = set(re.findall(r"{{(\w+)}}", target["legendFormat"]))
            assert all(named <= one["metric"].keys() for one in series)
            if panel["type"] == "stat":  # one figure, as it is now: none of an hour ago
                assert len(series) == 1
                assert target["instant"]

    def test_outcomes_seen_for_the_first_time_are_counted(self, seen: Observed):
        """`increase` sees none that a series starts with."""
        (panel,) = [panel for panel in PANELS if panel["title"] == "Objects done with in an hour"]
        counted = {
            one["metric"]["outcome"]: one["value"][1] for one in seen.query(panel["targets"][0]["expr"])
        }
        assert counted == {"encoded": "9", "zero_bytes": "3", "failed": "1"}

    def test_each_alert_looks_at_data(self, seen: Observed):
        looked_at = {selector for alert in ALERTS.values() for selector in SELECTOR.findall(alert["expr"])}
        assert len(looked_at) >= len(ALERTS)
        assert not [selector for selector in looked_at if not seen.query(selector)]

    def test_only_what_is_wrong_fires(self, seen: Observed):
        assert seen.query('ALERTS{alertname="GateFailed",alertstate="firing"}')
        firing = {series["metric"]["alertname"] for series in seen.query('ALERTS{alertstate="firing"}')}
        assert firing == {"GateFailed"}

    def test_figures_are_those_of_the_report(self, seen: Observed):
        first, second = (night.report for night in seen.nights)
        assert [night.exit_code for night in seen.nights] == [0, 3]

        def value(expression):
            (series,) = seen.query(expression)
            return float(series["value"][1])

        assert value("scenehash:chips:total") == first["chips"] + second["chips"] == 144
        assert value('scenehash:objects:total{outcome="zero_bytes"}') == 3
        assert value('scenehash:objects:total{outcome="failed"}') == 1
        assert value('max(ray_scenehash_night{figure="rejects/zero_bytes"})') == 3
        assert value('max(ray_scenehash_night{figure="gate/reject_share"})') == second["gate"]["reject_share"]
        assert value("scenehash:night_reject:share") == pytest.approx(3 / 7)
        assert 0 < value("scenehash:night_age:seconds") < 120
        assert value("min(ray_scenehash_snapshot_version)") == first["table_version"]

    def test_gauges_stay_while_nobody_asks(self, seen: Observed):
        """Ray forgets a gauge that isn't set again within twice the interval of its reports."""
        time.sleep(8)  # nobody has asked for as long as is looked at
        for gauge in ("requests_ongoing", "snapshot_version", "night_outcome", "night"):
            assert seen.query(f"max(count_over_time(ray_scenehash_{gauge}[8s])) >= 7"), gauge
        assert {series["value"][1] for series in seen.query("ray_scenehash_requests_ongoing")} == {"0"}

    def test_all_that_is_documented_is_exported(self, seen: Observed):
        names = set(re.findall(r"`(ray_\w+)`", METRICS))
        assert len(names) > 10
        missing = [name for name in names if not seen.query(f'{{__name__=~"{name}(_count)?"}}')]
        assert not missing
        exported = {series["metric"]["__name__"] for series in seen.query('{__name__=~"ray_scenehash_.+"}')}
        assert {re.sub("_(bucket|count|sum)$", "", name) for name in exported} <= names

    def test_each_line_of_a_night_carries_its_run(self, seen: Observed):
        for night in seen.nights:
            last_word = "jobs.nightly:"  # of the command line, in plain words, where it fails
            lines = [line for line in night.lines if line and not line.startswith(last_word)]
            lines = [line for line in lines if not CORE.match(line)]
            assert {json.loads(line[line.index("{") :])["run_id"] for line in lines} == {
                night.report["run_id"]
            }
            assert json.loads(lines[-1])["event"] == "night ended"

    def test_each_line_of_a_nights_workers_carries_its_run(self, seen: Observed):
        files = (seen.session / "logs").glob("worker-*.err")
        lines = [line for file in files for line in file.read_text().splitlines() if line.startswith("{")]
        said = [json.loads(line) for line in lines]
        (gone,) = [line for line in said if line["event"] == "not read"]
        assert gone["uri"].endswith("/gone.tif")
        assert gone["run_id"] == seen.nights[1].report["run_id"]
        assert {line["run_id"] for line in said} <= {night.report["run_id"] for night in seen.nights}

    def test_each_line_of_a_request_carries_its_id(self, seen: Observed):
        files = (seen.session / "logs" / "serve").glob("*.log")
        lines = [line for file in files for line in file.read_text().splitlines()]
        requests = [line for line in lines if re.search(r"(GET|POST) /\S* \d{3} ", line)]
        assert len(requests) > 50
        assert all(json.loads(line)["request_id"] for line in requests)
