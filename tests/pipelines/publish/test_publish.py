"""Publishing forward, by hand, back again; the history."""

import numpy as np
import pytest

from model.spec import CodePart, CodeSpec
from pipelines.errors import ConfigError, ConflictError, GateError, TableError
from pipelines.gate.config import GateConfig
from pipelines.gate.forward import Candidate, publish_forward
from pipelines.maintain.config import MaintainConfig
from pipelines.maintain.run import run_maintain
from pipelines.publish.config import PublishConfig
from pipelines.publish.history_table import history_table
from pipelines.publish.run import run_publish
from pipelines.table.pointer import find_pointer, publications, publish, read_pointer

SMALL = GateConfig(min_objects=1, min_chips=1)
CODE = CodeSpec((CodePart("kind", 32),))


def forward(night, run_id="night", config=SMALL):
    version = night.table.open().version()
    result = publish_forward(night.table, Candidate(version, night.model_id, "b", run_id), CODE, config)
    return result.published, result.verdict


def by_hand(night, **options):
    return run_publish(PublishConfig(table=night.table.uri, store=night.table.store.config, **options))


def versions(night):
    return [entry.table_version for entry in publications(night.table.uri, night.table.store)]


def test_forward_back_and_forward_again_only_with_news(night):
    first = night.commit(night.random_codes(3, 4))
    assert forward(night)[0].table_version == first
    assert forward(night)[1] is None, "nothing new: the gate isn't asked"
    second = night.commit(night.random_codes(3, 4, seed=1))
    assert forward(night)[0].table_version == second

    report = by_hand(night, rollback=True)
    assert [(entry.table_version, entry.restores) for entry in report.publications] == [(first, 1)]
    published, verdict = forward(night, "nothing new")
    assert (published.table_version, verdict) == (first, None), "the rollback stands"
    night.table.commit_unit([], night.model_id, 3, {})  # a unit of rejects alone
    assert forward(night)[1] is None
    third = night.commit(night.random_codes(1, 4, seed=2))
    published, verdict = forward(night, "news")
    assert (published.table_version, published.run_id) == (third, "news")
    assert verdict.measured.figures["last_chips"] == 12, "compared with what stood before it"

    history = by_hand(night, history=True).publications
    assert [(entry.number, entry.table_version) for entry in history] == [
        (4, third),
        (3, first),
        (2, second),
        (1, first),
    ]
    assert [entry.run_id for entry in history][::2] == ["news", "night"]
    assert history[0].gate["chips"] == 28
    table = history_table(by_hand(night, history=True))
    rows = [dict(zip(table.header, row, strict=True)) for row in table.rows]
    assert [(row["number"], row["version"], row["chips"], row["why"]) for row in rows][:2] == [
        ("4", str(third), "28", "passed the gate"),
        ("3", str(first), "12", "rollback to number 1"),
    ]
    assert (rows[0]["run"], rows[0]["bundle"], rows[0]["model"]) == ("news", "b", night.model_id)
    assert history_table(report) is None, "a rollback reports what it did"


def test_rolling_back_twice_goes_back_two_publications(local_night):
    published = []
    for seed in range(3):
        published.append(local_night.commit(local_night.random_codes(2, 2, seed=seed)))
        forward(local_night)
    for version in (published[1], published[0]):
        assert by_hand(local_night, rollback=True).publications[0].table_version == version
    with pytest.raises(TableError, match=r"nothing was published at .* before version 1"):
        by_hand(local_night, rollback=True)
    fourth = local_night.commit(local_night.random_codes(2, 2, seed=3))
    forward(local_night)
    assert by_hand(local_night, rollback=True).publications[0].table_version == published[0]
    assert versions(local_night)[:2] == [published[0], fourth]


def test_a_gate_that_fails_leaves_the_pointer_alone(local_night):
    local_night.commit(local_night.random_codes(3, 4))
    published = forward(local_night)[0]
    local_night.commit({"new": np.zeros((40, 4), np.uint8)})
    strict = GateConfig(min_objects=1, min_chips=1, min_bit_entropy=0.9)
    now, verdict = forward(local_night, config=strict)
    assert (now, read_pointer(local_night.table.uri, local_night.table.store)) == (published, published)
    assert {line.split(" is ")[0] for line in verdict.failed} >= {"chips_per_object_change", "bit_entropy"}


def test_a_version_by_hand_is_gated_unless_forced(night, any_root, write_model):
    uri, manifest = write_model(any_root, "tiny")
    night = type(night)(night.table, manifest.model_id)
    first = night.commit(night.random_codes(3, 4))
    with pytest.raises(TableError, match="name the model's bundle with --bundle"):
        by_hand(night, version=first)
    assert by_hand(night, version=first, bundle=uri, gate=SMALL).publications[0].bundle_uri == uri
    worse = night.commit({"new": np.zeros((90, 4), np.uint8)})
    with pytest.raises(
        GateError, match=r"chips_per_object_change is .*--force publishes it nevertheless"
    ) as caught:
        by_hand(night, version=worse, gate=SMALL)
    assert caught.value.report.refused.table_version == worse
    assert versions(night) == [first]
    assert caught.value.report.refused.skipped_checks == (
        "reject_share, new_reject_share: only a night counts rejects",
    )
    forced = by_hand(night, version=worse, gate=SMALL, force=True).publications[0]
    assert (forced.number, forced.table_version, bool(forced.failed_checks)) == (2, worse, True)
    assert by_hand(night, version=first, gate=SMALL, force=True).publications[0].number == 3
    assert forward(night)[1] is None, "an older version stands until there is something new"


def test_a_version_that_is_not_there_is_refused_with_those_that_are(local_night, root, write_model):
    uri, manifest = write_model(root, "tiny")
    night = type(local_night)(local_night.table, manifest.model_id)
    first = night.commit(night.random_codes(3, 4))
    last = night.commit(night.random_codes(3, 4, seed=1))
    with pytest.raises(TableError, match=f"no version 99; there are 0 to {last}, and published were none"):
        by_hand(night, version=99, bundle=uri)
    by_hand(night, version=first, bundle=uri, gate=SMALL)
    with pytest.raises(TableError, match=f"there are 0 to {last}, and published were {first} ") as caught:
        by_hand(night, version=99)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("force", [False, True])
def test_part_of_a_night_cannot_be_published(local_night, root, write_model, force):
    uri, manifest = write_model(root, "tiny")
    night = type(local_night)(local_night.table, manifest.model_id)
    other = type(local_night)(local_night.table, "other@0123456789ab")
    first = night.commit(night.random_codes(3, 4))
    part = night.commit(night.random_codes(3, 4, seed=1), is_last=False)
    beside = other.commit(other.random_codes(3, 4))
    run_maintain(MaintainConfig(table=night.table.uri, store=night.table.store.config))
    compacted = night.table.open().version()
    assert compacted > beside
    for version in (part, beside, compacted):
        with pytest.raises(TableError, match=f"version {version} .* stands between the commits of a night"):
            by_hand(night, version=version, bundle=uri, gate=SMALL, force=force)
    last = night.commit(night.random_codes(3, 4, seed=2))
    for version in (first, last):
        report = by_hand(night, version=version, bundle=uri, gate=SMALL, force=True)
        assert report.publications[0].table_version == version


@pytest.mark.parametrize("version", [0, 99])
def test_versions_that_cannot_be_published(local_night, root, write_model, version):
    uri, _ = write_model(root, "tiny")
    local_night.commit(local_night.random_codes(1, 1))
    with pytest.raises(TableError, match=f"version {version}"):
        by_hand(local_night, version=version, bundle=uri)


def test_a_new_model_is_encoded_beside_and_flips_with_its_version(night):
    old, new = night, type(night)(night.table, "demo@ba9876543210")
    night.commit(night.random_codes(3, 4))
    first = forward(old)[0]
    night_two = new.commit(night.random_codes(2, 4))  # half of it: not for publishing yet
    assert night.rows(night_two) == night.rows(first.table_version), "the old model's rows are as they were"
    assert read_pointer(night.table.uri, night.table.store) == first
    whole = new.commit(night.random_codes(3, 4, seed=1))
    published = forward(new)[0]
    assert (published.table_version, published.model_id) == (whole, new.model_id)
    assert len(new.rows(published.table_version)) == 20
    back = by_hand(night, rollback=True).publications[0]
    assert (back.table_version, back.model_id) == (first.table_version, old.model_id)
    assert forward(new)[0].model_id == old.model_id, "nothing new: the rollback stands for either model"
    assert forward(old)[0].model_id == old.model_id


def test_publishing_from_a_state_that_has_passed_is_refused(night):
    night.commit(night.random_codes(3, 4))
    first = forward(night)[0]
    with pytest.raises(ConflictError, match="was changed by somebody else"):
        publish(night.table.uri, night.table.store, first, None)
    publish(night.table.uri, night.table.store, first, first)
    with pytest.raises(ConflictError):
        publish(night.table.uri, night.table.store, first, first)
    assert find_pointer(night.table.uri, night.table.store).number == 2


def test_a_torn_history_is_told(local_night):
    local_night.commit(local_night.random_codes(3, 4))
    forward(local_night)
    local_night.commit(local_night.random_codes(3, 4, seed=1))
    forward(local_night)
    local_night.table.store.remove(f"{local_night.table.uri}/_published/000001.json")
    with pytest.raises(TableError, match=r"000001\.json is missing: the history isn't whole"):
        by_hand(local_night, history=True)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "give one of"),
        ({"rollback": True, "version": 1}, "give one of"),
        ({"history": True, "force": True}, "go with --version"),
    ],
)
def test_what_is_asked_must_be_one_thing(options, message):
    with pytest.raises((ConfigError, ValueError), match=message):
        PublishConfig(table="t", **options)


@pytest.mark.parametrize("options", [{"history": True}, {"rollback": True}, {"version": 1}])
def test_a_table_that_is_not_there_is_told(store, tmp_path, options):
    with pytest.raises(TableError, match="no code table at"):
        run_publish(PublishConfig(table=f"{tmp_path}/mistyped", store=store.config, **options))
