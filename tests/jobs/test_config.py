"""The command lines: YAML, environment and flags into one config; errors as one line and exit code 2."""

import json
import os
import re
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import BaseModel

from jobs.command import run_job
from jobs.config import _all_configs, load_config
from pipelines.encode.config import EncodeConfig
from pipelines.errors import ConfigError, GateError, ScenehashError
from pipelines.evaluate.config import EvaluateConfig
from pipelines.maintain.config import MaintainConfig
from pipelines.query.config import QueryConfig
from pipelines.serve.config import ServeConfig
from pipelines.train.config import TrainConfig
from pipelines.watch.config import AddWatchConfig

JOBS = ("train", "evaluate", "nightly", "publish", "maintain", "serve", "query", "watch", "demo")
REQUIRED = ["--source", "s3://a/b", "--table", "t", "--bundle", "b"]


def load(*arguments: str) -> EncodeConfig:
    return load_config("nightly", EncodeConfig, [*REQUIRED, *arguments])


def test_flags_win_over_environment_which_wins_over_yaml(tmp_path, monkeypatch):
    file = tmp_path / "nightly.yaml"
    file.write_text(
        "chip_size: 10\nencoders: 10\nbatch_size: 10\nstore: {endpoint: 'http://yaml', region: yaml}\n"
    )
    monkeypatch.setenv("SCENEHASH_ENCODERS", "20")
    monkeypatch.setenv("SCENEHASH_BATCH_SIZE", "20")
    monkeypatch.setenv("SCENEHASH_STORE__REGION", "env")
    config = load("--config", str(file), "--batch-size", "30")
    assert (config.chip_size, config.encoders, config.batch_size) == (10, 20, 30)
    assert (config.store.endpoint, config.store.region) == ("http://yaml", "env")
    monkeypatch.setenv("SCENEHASH_CONFIG", str(file))
    assert load().chip_size == 10


@pytest.mark.parametrize(
    ("name", "config_type"),
    [
        ("nightly", EncodeConfig),
        ("evaluate", EvaluateConfig),
        ("finetune", TrainConfig),
        ("maintain", MaintainConfig),
        ("serve", ServeConfig),
        ("train", TrainConfig),
    ],
)
def test_the_example_configs_are_valid(name, config_type):
    file = Path(__file__).parents[2] / "infra" / "config" / f"{name}.yaml"
    assert load_config(name, config_type, ["--config", str(file)]).store.region == "eu-central-1"


def test_a_preset_lies_below_what_is_given(tmp_path, monkeypatch):
    file = tmp_path / "train.yaml"
    file.write_text("{source: s, bundles: b, preset: seed_a, recipe: {epochs: 3}, pairwise: {margin: 1.5}}")
    monkeypatch.setenv("SCENEHASH_NETWORK__KIND_BITS", "32")
    arguments = ["--config", str(file), "--recipe.learning-rate=0.5"]
    config = load_config("train", TrainConfig, arguments)
    assert (config.objective, config.network.head, config.recipe.batch_size) == ("pairwise", "linear", 50)
    assert (config.recipe.epochs, config.recipe.learning_rate, config.network.kind_bits) == (3, 0.5, 32)
    assert (config.pairwise.margin, config.pairwise.uniform_weight) == (1.5, 20)
    assert not config.recipe.frozen
    plain = TrainConfig(source="s", bundles="b")
    assert (plain.objective, plain.network.head, plain.recipe.frozen) == ("orthohash", "norm", True)
    triplets = TrainConfig(source="s", bundles="b", preset="seed_b")
    assert (triplets.objective, triplets.network.head, triplets.recipe.frozen) == (
        "triplet",
        "attention",
        True,
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--workers=3"], "must be a multiple of workers"),
        (["--weights=none"], "a frozen backbone needs weights"),
        (["--preset=best"], "default"),
        (["--network.kind-bits=12"], "multiple of 8"),
        (["--recipe.epochs=0"], "must be 1 or more"),
        (["--network.head=none"], "kind_bits must be 0 with head none"),
        (["--chip-size=64", "--asset=visual"], "asset, chip_size: only for training without labels"),
        (["--preset=unlabelled", "--look-from=b"], "look_from needs labels"),
        (["--look-from=b", "--recipe.backbone-learning-rate=1"], "must stay frozen"),
        (["--look-from=b", "--weights=w"], "are those of the bundle look_from"),
        (["--preset=unlabelled", "--recipe.backbone-learning-rate=1"], "must stay frozen"),
        (["--augment.views=1"], "augment.views must be 2 or more"),
        (["--preset=default64", "--augment.views=1"], "augment.views must be 2 or more"),
    ],
)
def test_trainings_that_make_no_sense(arguments, message):
    with pytest.raises(ConfigError, match=message):
        load_config("train", TrainConfig, ["--source=s", "--bundles=b", *arguments])


def test_the_parts_of_each_presets_codes():
    def parts(preset, *arguments):
        config = load_config(
            "train", TrainConfig, ["--source=s", "--bundles=b", f"--preset={preset}", *arguments]
        )
        return [(part.name, part.bits, part.weight) for part in config.network.code.parts]

    assert parts("default") == [("kind", 64, 2), ("look", 192, 1)]
    assert parts("default64") == [("kind", 64, 1)]
    assert parts("unlabelled", "--chip-size=64") == [("look", 256, 1)]
    assert parts("seed_a") == [("kind", 48, 1)]
    assert parts("seed_b", "--network.look-bits=192") == [("kind", 64, 2), ("look", 192, 1)]
    assert parts("seed_b", "--orthohash.contrast-weight=0", "--augment.views=1") == [("kind", 64, 1)]


def test_nested_and_repeated_values():
    config = load_config(
        "train",
        TrainConfig,
        ["--source=m", "--bundles=b", "--network.kind-bits=48", "--input.bands=4,1,2", "--use-gpu"],
    )
    assert (config.network.kind_bits, config.input.bands, config.use_gpu) == (48, (4, 1, 2), True)


def test_pixels_of_a_night():
    config = load_config(
        "nightly",
        EncodeConfig,
        ["--source=s", "--table=t", "--bundle=b", "--pixels.bands=4,3,2", "--pixels.percentiles=2,98"],
    )
    assert (config.pixels.bands, config.pixels.percentiles) == ((4, 3, 2), (2, 98))
    given = ["--source=s", "--table=t", "--bundle=b", "--pixels.low=0,0.5", "--pixels.high=1,3000"]
    config = load_config("nightly", EncodeConfig, [*given, "--pixels.nodata=-9999"])
    assert (config.pixels.low, config.pixels.high, config.pixels.nodata) == ((0, 0.5), (1, 3000), -9999)
    with pytest.raises(ConfigError, match="pixels: give low and high, or percentiles: not both"):
        load_config("nightly", EncodeConfig, [*given, "--pixels.percentiles=2,98"])


def test_local_places_are_absolute_whichever_way_they_are_given(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/ana")
    monkeypatch.setenv("SCENEHASH_TABLE", "~/codes")
    (tmp_path / "night.yaml").write_text("{bundle: bundles/x, gate: {canary: ../canary.csv}}")
    night = load_config("nightly", EncodeConfig, ["--config", "night.yaml", "--source", "./imagery/"])
    assert night.source == f"{tmp_path}/imagery"
    assert (night.table, night.bundle) == ("/home/ana/codes", f"{tmp_path}/bundles/x")
    assert night.gate.canary == f"{tmp_path.parent}/canary.csv"
    flags = ["--source=l", "--bundles=b", "--features.cache=f", "--weights=w.pth", "--look-from=models:/m@a"]
    with pytest.raises(ConfigError, match="weights are those of the bundle"):
        load_config("train", TrainConfig, flags)
    training = load_config("train", TrainConfig, flags[:-1])
    assert (training.bundles, training.features.cache) == (f"{tmp_path}/b", f"{tmp_path}/f")
    assert training.weights == f"{tmp_path}/w.pth"
    assert load_config("train", TrainConfig, flags[:2]).weights == "imagenet"
    flags = ["--watches=w", "--name=a", "--table=t", "--max-distance=1", "--image=~/i.png"]
    watch = load_config("watch add", AddWatchConfig, flags)
    assert (watch.watches, watch.table) == (f"{tmp_path}/w", f"{tmp_path}/t")
    assert str(watch.image) == "/home/ana/i.png"


@pytest.mark.parametrize("address", ["s3://bucket/a/", "https://stac.example.org/v1", "http://h/x"])
def test_addresses_of_other_machines_stay_as_they_are(address):
    assert load("--source", address).source == address
    assert load("--bundle", "models:/scenehash@champion").bundle == "models:/scenehash@champion"


def test_an_empty_place_is_not_the_current_folder():
    with pytest.raises(ConfigError, match="table: is empty; give a folder or an address"):
        load("--table", "")


def places(config, path=""):
    """Yield each field of a config that names a place, with the fields of the configs in it."""
    for name, field in config.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from places(field.annotation, f"{path}{name}.")
        elif re.search(r"\bURI\b|\b[Ff]older|\bfile\b", field.description or "") and name != "account":
            yield f"{path}{name}", f"{field.annotation} {field.metadata}"


@pytest.mark.parametrize("config", _all_configs(), ids=lambda config: config.__name__)
def test_every_field_that_names_a_place_makes_it_absolute(config):
    for name, kind in places(config):
        if name not in ("pixels.nodata", "tracking.uri", "search.filter"):
            assert "located" in kind, name


@pytest.mark.parametrize(
    "given", ["landsat", "landsat=4,3,2", "{landsat: {bands: [4]}}", '{"landsat": [4, 3, 2]}', "3"]
)
def test_pixels_by_collection_show_the_form_that_is_right(monkeypatch, given):
    example = """'{"landsat": {"bands": [4, 3, 2], """
    with pytest.raises(ConfigError, match=re.escape(f"write it as {example}")) as caught:
        load(f"--collection-pixels={given}")
    assert str(caught.value).startswith("collection_pixels: ")
    monkeypatch.setenv("SCENEHASH_COLLECTION_PIXELS", given)
    with pytest.raises(ConfigError, match=re.escape(f"write it as {example}")):
        load()
    monkeypatch.delenv("SCENEHASH_COLLECTION_PIXELS")
    form = str(caught.value).partition("write it as '")[2].partition("'")[0]
    assert load("--collection-pixels", form).collection_pixels["landsat"].bands == (4, 3, 2)


def test_numbers_below_zero_follow_their_flag():
    query = load_config("query", QueryConfig, ["--point", "-62,-3", "--bbox", "-70,-10,-60,0", "-k", "3"])
    assert (query.point, query.bbox, query.k) == ("-62,-3", "-70,-10,-60,0", 3)
    assert load("--pixels.nodata", "-9999").pixels.nodata == -9999
    assert load("--search.bbox", "-0.5,-1,2,3").search.bbox == (-0.5, -1, 2, 3)


def test_a_search_can_be_told_in_flags():
    config = load("--search.collections=a,b", "--search.bbox=-1,2,3,4", "--search.query=eo:cloud_cover<10")
    assert config.search.collections == ("a", "b")
    assert (config.search.bbox, config.search.query) == ((-1, 2, 3, 4), ("eo:cloud_cover<10",))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--chip-sise", "3"], "unrecognized arguments: --chip-sise"),
        (["--chip-size", "x"], "chip_size: Input should be a valid integer"),
        (["--chip-size", "1"], "chip_size: .*greater than or equal to 8"),
        (["--since", "2026-06-01"], "since: .*timezone"),
        (["--since", "2026-06-02T00:00Z", "--until", "2026-06-02T00:00Z"], "since must be before until"),
        (["--prune", "--search.max-items", "3"], "prune needs the whole archive"),
        (["--config", "/no/such.yaml"], "config file /no/such.yaml: .*No such file"),
    ],
)
def test_a_bad_value_is_named(arguments, message):
    with pytest.raises(ConfigError, match=message) as caught:
        load(*arguments)
    assert "\n" not in str(caught.value)


def test_what_is_missing_is_named():
    with pytest.raises(ConfigError, match="source: is required; bundle: is required"):
        load_config("nightly", EncodeConfig, ["--table", "t"])


@pytest.mark.parametrize("content", ["chipsize: 3", "store: {endpint: x}", "- a list", "a: ["])
def test_a_bad_yaml_is_told(tmp_path, content):
    file = tmp_path / "bad.yaml"
    file.write_text(content)
    with pytest.raises(ConfigError, match=r"chipsize: is unknown|store\.endpint: is unknown|config file"):
        load("--config", str(file))


@pytest.mark.parametrize("variable", ["SCENEHASH_TABEL", "SCENEHASH_STORE__ENDPINT", "SCENEHASH_NONSENSE"])
def test_an_unknown_variable_is_told(monkeypatch, variable):
    monkeypatch.setenv(variable, "x")
    with pytest.raises(ConfigError, match=variable + "|store.endpint"):
        load()


@pytest.mark.parametrize("config", _all_configs(), ids=lambda config: config.__name__)
def test_a_mistyped_variable_is_named_before_what_is_missing(monkeypatch, config):
    monkeypatch.setenv("SCENEHASH_TABEL", "codes")
    with pytest.raises(ConfigError, match=r"SCENEHASH_TABEL is unknown; did you mean SCENEHASH_TABLE\?"):
        load_config("any", config, [])


def test_another_jobs_variable_is_not_unknown(monkeypatch):
    monkeypatch.setenv("SCENEHASH_WORKERS", "3")
    assert load().chip_size == 256


@pytest.mark.parametrize(
    ("error", "code"), [(ConfigError("no"), 2), (GateError("no"), 3), (ScenehashError("no"), 1)]
)
def test_exit_codes(capsys, error, code):
    def fail(config):
        raise error

    assert run_job("nightly", EncodeConfig, fail, REQUIRED) == code
    assert capsys.readouterr().err.splitlines()[-1] == "jobs.nightly: no"


def test_a_failed_gate_prints_its_report_too(capsys):
    def fail(config):
        raise GateError("bit_drift is 0.3", config)

    assert run_job("nightly", EncodeConfig, fail, REQUIRED) == 3
    captured = capsys.readouterr()
    assert json.loads(captured.out)["chip_size"] == 256
    assert captured.err.splitlines()[-1] == "jobs.nightly: bit_drift is 0.3"


def test_the_gates_thresholds_are_flags():
    config = load("--gate.max-bit-drift=0.5", "--gate.canary=s3://a/canary.csv")
    assert (config.gate.max_bit_drift, config.gate.canary, config.gate.min_objects) == (
        0.5,
        "s3://a/canary.csv",
        50,
    )
    assert load("--tracking.uri=http://m").tracking.experiment == "scenehash-nightly"


def test_the_report_is_one_line_of_json(capsys):
    assert run_job("nightly", EncodeConfig, lambda config: config, REQUIRED) == 0
    assert json.loads(capsys.readouterr().out)["chip_size"] == 256


def processor_seconds(*arguments: str) -> tuple[str, float]:
    """What Python prints, and its processor time: not the clock's, as other tests run beside this one."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, *arguments], capture_output=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return done.stdout.decode(), after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


@pytest.mark.server
@pytest.mark.parametrize("job", JOBS)
def test_help_lists_every_field_and_is_quick(job):
    _, least = processor_seconds("-c", "import pyarrow.compute, pydantic_settings, structlog")
    shown, seconds = processor_seconds("-m", f"jobs.{job}", "--help")
    assert seconds < 3 * least
    assert f"python -m jobs.{job}" in shown
    heavy = f"import sys, jobs.{job}; print([m for m in ('torch', 'ray', 'mlflow') if m in sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", heavy], capture_output=True, check=True)
    assert loaded.stdout.strip() == b"[]"


@pytest.mark.parametrize(
    ("job", "arguments", "message"),
    [
        ("train", ["--source=s3://no-such-bucket/m", "--bundles=s3://no-such-bucket/b"], "no such bucket"),
        ("nightly", ["--source=s3://no-such-bucket/x", "--table=t", "--bundle=/no/bundle"], "no bundle at"),
        (
            "nightly",
            ["--source=s3://archive/x", "--table=s3://no-such-bucket/t", "--bundle=b"],
            "s3://no-such-bucket/t: no such bucket at http://127.0.0.1:",
        ),
        (
            "evaluate",
            ["--bundle=b", "--source=s3://archive/m", "--output=s3://no-such-bucket/o"],
            "s3://no-such-bucket/o: no such bucket at http://127.0.0.1:",
        ),
        ("serve", ["--table=s3://no-such-bucket/t", "--open"], "no such bucket"),
        ("publish", ["--table=s3://archive/none", "--rollback"], "no code table at s3://archive/none"),
        ("publish", ["--table=t", "--history", "--version=3"], "give one of --version N"),
        ("maintain", ["--table=s3://archive/none"], "no code table at s3://archive/none"),
        ("query", ["--url=http://127.0.0.1:9", "--code=00"], "127.0.0.1:9"),
        ("nightly", ["--nonsense"], "unrecognized arguments"),
    ],
)
def test_the_users_mistakes_are_one_line_and_exit_code_2(store, tmp_path, job, arguments, message):
    endpoint = {"SCENEHASH_STORE__ENDPOINT": str(store.config.endpoint)}
    command = [sys.executable, "-m", f"jobs.{job}", *arguments]
    done = subprocess.run(
        command, capture_output=True, text=True, env=os.environ | endpoint, cwd=tmp_path, check=False
    )
    assert done.returncode == 2
    assert message in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
