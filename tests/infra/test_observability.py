"""Metrics, dashboard, alerts and logs, as they really arrive: `observed.py` runs what they are about."""

import json
import re
import subprocess
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
    sources = yaml.safe_load((OBSERVABILITY / "grafana" / "datasources.yaml").read_text())["datasources"]
    uids = {source["uid"] for source in sources}
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
    assert len({panel["title"] for panel in PANELS}) == len(PANELS)
    for panel in PANELS:
        assert panel["title"]
        assert panel["description"]
        assert panel["fieldConfig"]["defaults"]["unit"]
        assert panel["targets"]
        for source in (panel, *panel["targets"]):
            assert source["datasource"] == {"type": "prometheus", "uid": source["datasource"]["uid"]}
            assert source["datasource"]["uid"] in uids
        references = [target["refId"] for target in panel["targets"]]
        assert len(set(references)) == len(references)
    for one, other in combinations([panel["gridPos"] for panel in DASHBOARD["panels"]], 2):
        apart_x = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        apart_y = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert apart_x or apart_y, (one, other)
    assert max(panel["gridPos"]["x"] + panel["gridPos"]["w"] for panel in PANELS) <= 24


@needs_prometheus
@pytest.mark.timeout(300)
class TestWhatRuns:
    def test_each_query_of_the_dashboard_returns_data(self, seen: Observed):
        empty = [
            (panel["title"], target["expr"])
            for panel in PANELS
            for target in panel["targets"]
            if not seen.query(target["expr"])
        ]
        assert not empty

    def test_each_alert_looks_at_data(self, seen: Observed):
        looked_at = {selector for alert in ALERTS.values() for selector in SELECTOR.findall(alert["expr"])}
        looked_at -= {'scenehash:night_outcome{outcome="nothing_new"} == 1'}
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
        ranges = (
            "ray_scenehash_requests_ongoing",
            "ray_scenehash_snapshot_version",
            "ray_scenehash_night_outcome",
        )
        for gauge in ranges:
            (steady,) = seen.query(f"max(count_over_time({gauge}[8s]))")
            assert int(steady["value"][1]) >= 7, gauge
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
