"""What is reported, when, and what isn't."""

import json
from pathlib import Path

import numpy as np
import pytest
import shapely

from pipelines.errors import BundleError, ComparisonError, ConfigError, PictureError, TableError
from pipelines.maintain.compact import compact
from pipelines.watch.add import remove_watch
from pipelines.watch.config import ListWatchesConfig, RemoveWatchConfig
from pipelines.watch.watch_list import list_watches
from tests.pipelines.watch.conftest import code_at


def test_new_chips_nearby_are_reported_once_nearest_first(site):
    site.night_of({"old": code_at(1)})
    site.add(notes="the harbour")
    assert site.look() == [], "what was there before isn't new"
    two_chips = np.concatenate([code_at(3), code_at(5)])
    published = site.night_of({"b": two_chips, "a": code_at(3), "c": code_at(2)})
    outcome = site.run().watches[0]
    assert (outcome.publication, outcome.compared, outcome.hits, outcome.error) == (2, 4, 3, None)
    stem = f"{site.root}/hits/ships/000002"
    assert outcome.files == [f"{stem}.geojson", f"{stem}.jsonl"]
    assert site.look() == [], "each once"
    assert site.written() == {"000002": [("c-0", "1"), ("a-0", "1"), ("b-0", "1")]}

    row = next(row for row in site.night.rows() if row["chip_id"] == "c-0")
    feature = json.loads(site.store.read(f"{stem}.geojson"))["features"][0]
    assert shapely.geometry.shape(feature["geometry"]).equals(shapely.from_wkb(row["geometry"]))
    line = json.loads(site.store.read(f"{stem}.jsonl").splitlines()[0])
    assert line == {
        "watch": "ships",
        "chip_id": "c-0",
        "distance": 2,
        "datetime": "2026-01-01T00:00:00Z",
        "collection": "tests",
        "uri": "c",
        "etag": "1",
        "window": [0, 0, 1, 1],
        "publication": 2,
        "snapshot": published.table_version,
        "model_id": site.night.model_id,
        "encoded_at": row["encoded_at"].isoformat().replace("+00:00", "Z"),
        "bbox": list(row["bbox"].values()),
    }
    assert feature["properties"] == {key: line[key] for key in feature["properties"]}
    listed = list_watches(ListWatchesConfig(watches=f"{site.root}/watches", store=site.store.config)).watches
    assert [(each.name, each.hits, each.publication, each.notes) for each in listed] == [
        ("ships", 3, 2, "the harbour")
    ]


def test_from_the_start(local_site):
    local_site.night_of({"old": code_at(1)})
    local_site.add(from_start=True)
    assert local_site.look() == ["old-0"]
    local_site.night_of({"new": code_at(0)})
    assert local_site.look() == ["new-0"]


def test_an_object_that_changed_is_news_one_encoded_again_is_not(local_site):
    site = local_site
    site.night_of({"a": code_at(1), "b": code_at(2), "far": code_at(20)})
    site.add()
    site.night_of({"a": code_at(3)}, etag="2")
    assert site.look() == ["a-0"]
    site.night_of({"b": code_at(2)})
    assert site.look() == [], "encoded again, with the same etag"
    site.night_of({"a": code_at(1)}, etag="1")
    assert site.look() == ["a-0"], "put back: not reported yet with this etag"
    site.publish(site.remove("a"))
    assert site.look() == []
    site.night_of({"a": code_at(3)}, etag="2")
    assert site.look() == [], "was reported long ago"


def test_a_rollback_and_what_follows_it_repeat_nothing(site):
    first = site.night_of({"a": code_at(1)})
    site.add(from_start=True)
    assert site.look() == ["a-0"]
    site.night_of({"a": code_at(2), "b": code_at(2)}, etag="2")
    assert site.look() == ["a-0", "b-0"]
    site.publish(first.table_version, restores=first.number)
    assert site.look() == []
    site.night_of({"c": code_at(3)})
    assert site.look() == ["c-0"]


def test_a_publication_that_was_rolled_back_unseen_is_reported_when_it_comes_again(local_site):
    first = local_site.night_of({"a": code_at(1)})
    local_site.add()
    second = local_site.night_of({"b": code_at(2)})
    local_site.publish(first.table_version, restores=first.number)
    assert local_site.look() == []
    local_site.publish(second.table_version, restores=second.number)
    assert local_site.look() == ["b-0"]


def test_clocks_decide_nothing(local_site):
    """A row may be committed after one that was encoded later: by another node, in another run."""
    site = local_site
    site.night.commit({"a": code_at(9)})
    early = site.night.write({"early": code_at(1)})
    late = site.encode({"late": code_at(2)})
    site.publish(late)
    site.add()
    number = site.night.table.commits(site.night.model_id) + 1
    site.publish(site.night.table.commit_unit(early.shards, site.night.model_id, number, {}))
    assert site.look() == ["early-0"]


def test_compaction_is_no_news(local_site):
    site = local_site
    site.night_of({"a": code_at(1)})
    site.add()
    site.encode({"b": code_at(2)})
    site.encode({"c": code_at(3)})
    compact(site.night.table)
    site.publish(site.night.table.open().version())
    assert site.run().watches[0].compared == 3
    assert site.all_written() == [("b-0", "1"), ("c-0", "1")]


def second_model(site, write_model):
    bundle, manifest = write_model(site.root, "other")
    return site.of_model(type(site.night)(site.night.table, manifest.model_id), bundle)


def test_another_model_makes_no_old_chip_new(site, write_model):
    old = site
    first = old.night_of({"a": code_at(1), "b": code_at(9), "far": code_at(20)})
    old.add(chip_id=("a-0",))
    new = second_model(old, write_model)
    new.night_of({"a": code_at(30), "b": code_at(30), "c": code_at(29)})
    assert new.look() == ["c-0"], "near a-0 as the new model sees it; b-0 isn't new"
    old.publish(first.table_version, restores=first.number)
    assert old.look() == []
    old.night_of({"c": code_at(2), "d": code_at(3)})
    assert old.look() == ["d-0"]
    new.night_of({"d": code_at(30), "e": code_at(30)})
    assert new.look() == ["e-0"]
    new.night_of({"far": code_at(30)})
    assert new.look() == [], "the old model had it already"


@pytest.mark.parametrize("kind", ["same model", "another model"])
def test_a_version_that_is_gone_is_told(local_site, write_model, kind):
    site = local_site
    site.night_of({"a": code_at(1)})
    site.add(chip_id=("a-0",))
    site.night_of({"b": code_at(2)})
    assert site.look() == ["b-0"]
    if kind == "another model":
        site = second_model(site, write_model)
        site.encode({"a": code_at(1), "b": code_at(2)})
    site.encode({"c": code_at(3)})
    delta = site.night.table.open()
    delta.create_checkpoint()
    for log in Path(f"{site.night.table.uri}/_delta_log").glob("*.json"):
        if int(log.stem) < delta.version():
            log.unlink()
    site.publish(delta.version())
    outcome = site.run().watches[0]
    assert "can't be read any more" in outcome.notes[0]
    assert site.written()["000003"] == [("c-0", "1")]
    site.night_of({"d": code_at(3)})
    outcome = site.run().watches[0]
    assert (outcome.notes, outcome.hits) == ([], 1)


def test_several_examples_count_on_average_and_are_no_hits(local_site):
    site = local_site
    site.night_of({"x": code_at(0), "y": code_at(8)})
    site.add(chip_id=("x-0", "y-0"), max_distance=4, from_start=True)
    site.night_of({"between": code_at(3), "beside": code_at(9)})
    site.run()
    file = f"{site.root}/hits/ships/000002.jsonl"
    lines = [json.loads(line) for line in site.store.read(file).splitlines()]
    assert [(line["chip_id"], line["distance"]) for line in lines] == [("between-0", 4)]
    site.night_of({"x": code_at(4)}, etag="2")
    assert site.look() == []


def in_parts(kind: int, look: int) -> np.ndarray:
    """A code of 16 kind and 16 look bits with so many of each on, codes_NY of one chip."""
    bits = np.concatenate([np.arange(16) < kind, np.arange(16) < look])
    return np.packbits(bits, bitorder="little")[None]


def site_of_two_parts(site, write_model):
    bundle, manifest = write_model(site.root, "parts", kind_bits=16, look_bits=16)
    return site.of_model(type(site.night)(site.night.table, manifest.model_id), bundle)


@pytest.mark.parametrize(
    ("comparing", "max_distance", "hits"),
    [
        ({}, 7, [("c-0", 3), ("a-0", 4), ("b-0", 7)]),
        ({"kind_weight": 1}, 4, [("a-0", 2), ("b-0", 3), ("c-0", 3), ("e-0", 4)]),
        ({"kind_weight": 8}, 9, [("c-0", 3), ("a-0", 9)]),
        ({"compare": "kind"}, 1, [("c-0", 0), ("a-0", 1), ("d-0", 1)]),
        ({"compare": "look"}, 1, [("e-0", 0), ("a-0", 1), ("b-0", 1)]),
        ({"kind_weight": 0}, 1, [("e-0", 0), ("a-0", 1), ("b-0", 1)]),
    ],
)
def test_what_is_compared(local_site, write_model, comparing, max_distance, hits):
    site = site_of_two_parts(local_site, write_model)
    chips = {"a": (1, 1), "b": (2, 1), "c": (0, 3), "d": (1, 9), "e": (4, 0)}
    site.night_of({uri: in_parts(*bits) for uri, bits in chips.items()})
    site.add(max_distance=max_distance, from_start=True, **comparing)
    site.run()
    lines = site.store.read(f"{site.root}/hits/ships/000001.jsonl").splitlines()
    assert [(line["chip_id"], line["distance"]) for line in map(json.loads, lines)] == hits
    listed = list_watches(ListWatchesConfig(watches=f"{site.root}/watches", store=site.store.config))
    kept = listed.watches[0].model_dump(include={"compare", "kind_weight"})
    assert kept == {"compare": "both", "kind_weight": None} | comparing


def test_a_part_that_the_next_model_lacks_is_told(local_site, write_model):
    old = site_of_two_parts(local_site, write_model)
    first = old.night_of({"a": in_parts(0, 0)})
    old.add(compare="look", chip_id=("a-0",))
    old.add("by-kind", compare="kind", chip_id=("a-0",))
    new = local_site
    new.night_of({"a": code_at(0), "b": code_at(3)})
    failure = new.run_badly()
    outcomes = {each.name: each for each in failure.report.watches}
    assert "the model's codes have kind bits, no look bits" in outcomes["ships"].error
    assert (outcomes["by-kind"].error, outcomes["by-kind"].hits) == (None, 1)
    old.publish(first.table_version, restores=first.number)
    old.night_of({"c": in_parts(9, 4)})
    assert old.look() == ["c-0"], "the model that it fits is back"


def test_a_watch_that_says_nothing_of_parts_compares_as_the_model_does(local_site):
    site = local_site
    site.night_of({"a": code_at(1)})
    site.add(from_start=True)
    uri = f"{site.root}/watches/ships.json"
    watch = json.loads(site.store.read(uri))
    assert (watch.pop("compare"), watch.pop("kind_weight"), watch["format_version"]) == ("both", None, 2)
    site.store.write(uri, json.dumps(watch | {"format_version": 1}).encode())
    assert site.look() == ["a-0"]


def test_an_image_is_encoded_again_for_another_model(site, write_model, tmp_path, geotiff, monkeypatch):
    import torch

    from pipelines.registry.bundles import read_bundle

    pixels_HWC = np.random.default_rng(0).integers(1, 255, (16, 16, 3), np.uint8)
    picture = tmp_path / "example.tif"
    picture.write_bytes(geotiff(pixels_HWC))
    new = second_model(site, write_model)
    codes = [
        read_bundle(each.bundle, site.store)[1].encode(torch.from_numpy(pixels_HWC[None]))
        for each in (site, new)
    ]
    assert (codes[0] != codes[1]).any()
    site.night_of({"a": ~codes[0]})
    site.add(image=picture, max_distance=0)
    picture.unlink()
    site.night_of({"b": codes[0]})
    assert site.look() == ["b-0"]
    new.night_of({"a": codes[0], "c": codes[1], "d": codes[0]})
    assert new.look() == ["c-0"]


def test_one_that_fails_costs_no_other(local_site, write_model):
    site = local_site
    site.night_of({"a": code_at(1), "b": code_at(2)})
    site.add("by-code")
    site.add("by-chip", chip_id=("a-0",))
    site.add("by-lost-chip", chip_id=("b-0",))
    site.store.write(f"{site.root}/watches/torn.json", b'{"name": "torn"')
    new = second_model(site, write_model)
    new.night_of({"a": code_at(1), "c": code_at(3)})
    failure = new.run_badly()
    assert failure.exit_code == 2
    outcomes = {each.name: each for each in failure.report.watches}
    assert outcomes["by-chip"].hits == 1
    assert "chip b-0 isn't in version" in outcomes["by-lost-chip"].error
    assert f"a code of {site.night.model_id}" in outcomes["by-code"].error
    assert "torn.json isn't what this version keeps" in outcomes["torn"].error
    assert str(failure).startswith("3 of 4 watches failed: by-code: ")
    assert all("--replace" in each.error for each in outcomes.values() if each.error)
    new.add("by-code", replace=True, from_start=True)
    assert new.look("by-code") == ["a-0", "c-0"]


def test_adding_checks_everything_at_once(local_site, tmp_path):
    site = local_site
    with pytest.raises(TableError, match="nothing is published"):
        site.add()
    site.night_of({"a": code_at(1)})
    text = tmp_path / "text.png"
    text.write_text("no picture")
    for options, error, message in [
        ({"chip_id": ("a-1",)}, TableError, "chip a-1 isn't in version"),
        ({"max_distance": 33}, ConfigError, "max_distance: 33 is more than 32, the greatest distance"),
        ({"code": "00"}, ConfigError, "code: it has 8 bits"),
        ({"compare": "look"}, ComparisonError, "have kind bits, no look bits; leave compare out"),
        ({"kind_weight": 2}, ComparisonError, "have kind bits only; leave kind_weight out"),
        ({"kind_weight": 9}, ValueError, "less than or equal to 8"),
        ({"image": text}, PictureError, "send a JPEG"),
        ({"image": tmp_path / "none.png"}, ConfigError, "can't be read"),
        ({"chip_id": ("a-0",), "code": "00"}, ValueError, "exactly one of"),
        ({"bbox": "0,1,2,-1"}, ConfigError, "bbox: south .* lies north of"),
        ({"name": "../up"}, ValueError, "should match pattern"),
    ]:
        with pytest.raises(error, match=message):
            site.add(**options)
    assert not Path(f"{site.root}/watches").exists()
    site.add()
    with pytest.raises(ConfigError, match=r"there is a watch ships .* already; --replace"):
        site.add()
    site.of_model(site.night, f"{site.root}/none").publish(1)
    with pytest.raises(BundleError, match="no bundle at"):
        site.add("other")


def test_a_removed_watch_is_gone_and_one_of_the_same_name_starts_anew(site, tmp_path, geotiff):
    picture = tmp_path / "example.tif"
    picture.write_bytes(geotiff(np.full((16, 16, 3), 7, np.uint8)))
    site.night_of({"a": code_at(1)})
    watch = site.add(image=picture, max_distance=32, from_start=True)
    assert site.look() == ["a-0"]
    assert (
        remove_watch(RemoveWatchConfig(watches=f"{site.root}/watches", store=site.store.config, name="ships"))
        == watch
    )
    left = [found.uri for found in site.store.list(f"{site.root}/watches")]
    assert [uri for uri in left if not uri.endswith(".lock")] == []
    assert "no watch ships" in str(site.run_badly("ships"))
    site.add(from_start=True)
    assert site.look() == ["a-0"]
    site.add(replace=True, from_start=True, max_distance=0)
    assert site.look() == []
