"""The help of each job: words that a user knows, every option, and only options that there are."""

import re

import pytest

from jobs.command import run_job
from jobs.config import load_config
from jobs.help import _JOBS_GROUPS, FIRST, GROUPS, group_of, help_text, options_of
from pipelines.demo.config import DemoConfig
from pipelines.encode.config import EncodeConfig
from pipelines.errors import ConfigError
from pipelines.submit.config import SubmitConfig
from pipelines.train.config import TrainConfig
from tests.docs.blocks import CONFIGS

ALL = CONFIGS | {"demo": DemoConfig, "submit": SubmitConfig}


@pytest.mark.parametrize("job", ALL)
def test_every_option_is_in_the_help_and_is_one_of_the_job(job):
    options = list(options_of(ALL[job]))
    brief, whole = (help_text(job, ALL[job], has_all=has_all) for has_all in (False, True))
    for option in options:
        assert re.search(rf"(^|\s){re.escape(option.flag)}(\s|$)", brief), option.flag
        assert re.search(rf"^  {re.escape(option.flag)}( |$)", whole, re.MULTILINE), option.flag
    flags = [f"{option.flag}=?" if option.value else option.flag for option in options]
    with pytest.raises(ConfigError) as caught:
        load_config(job, ALL[job], [*flags, "--nonsense"])
    assert str(caught.value).endswith("unrecognized arguments: --nonsense")


@pytest.mark.parametrize("job", ALL)
def test_help_has_no_words_of_python(job):
    whole = help_text(job, ALL[job], has_all=True)
    words = r"tuple|Aware|default factory|None|dict\b|\bstr\b|\bbool|\bint\b|Annotated|Secret"
    assert not re.search(words, whole)


@pytest.mark.parametrize("job", ALL)
def test_what_is_required_comes_first_and_five_options_at_most(job):
    required = {option.name for option in options_of(ALL[job]) if option.is_required}
    assert required <= set(FIRST[job])
    assert len(FIRST[job]) <= 5


def test_no_group_names_an_option_that_no_job_has():
    tops = {option.name.partition(".")[0] for config in ALL.values() for option in options_of(config)}
    assert {name for names in GROUPS.values() for name in names.split()} <= tops
    for job, groups in _JOBS_GROUPS.items():
        assert groups.keys() <= {option.name.partition(".")[0] for option in options_of(ALL[job])}
    assert group_of("nightly", "store.endpoint") == "store"


def test_the_words_for_values():
    words = {option.name: option.value for option in options_of(EncodeConfig)}
    assert words["source"] == "ADDRESS"
    assert words["bundle"] == "MODEL"
    assert words["since"] == "TIME"
    assert words["dry_run"] == ""
    assert words["suffixes"] == "TEXT,..."
    assert words["search.bbox"] == "NUMBER,NUMBER,NUMBER,NUMBER"
    assert words["edges"] == "drop|shift|pad"
    assert words["collection_pixels"] == "JSON"


def test_help_is_short_and_help_all_is_grouped(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert run_job("train", TrainConfig, lambda config: config, ["--help"]) == 0
    brief = capsys.readouterr().out
    assert len(brief.splitlines()) < 70
    assert max(map(len, brief.splitlines())) <= 80
    assert run_job("train", TrainConfig, lambda config: config, ["--help-all"]) == 0
    groups = re.findall(r"^(\w+):$", capsys.readouterr().out, re.MULTILINE)
    assert groups == ["source", "chips", "model", "training", "work", "store", "tracking"]
