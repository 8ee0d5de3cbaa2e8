"""Planning against plain Python sets."""

from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.encode.parcels import units_of
from pipelines.encode.plan import Done, Plan, Rules, make_plan
from pipelines.encode.versions import REJECTED_SCHEMA, VERSION_SCHEMA, Encoded
from pipelines.imagery.chip_spec import ChipSpec
from pipelines.imagery.grid import Grid
from pipelines.imagery.pixels import PixelSpec
from pipelines.runtime.spill import in_pieces, read_spilled, spill
from pipelines.sources.chip_specs import ChipSpecs
from pipelines.sources.listing import Listing
from pipelines.sources.objects import OBJECT_SCHEMA
from pipelines.storage.listings import PassedOver

NAMES = st.text(st.sampled_from("ab/é'\U0001f6f0"), min_size=1, max_size=3)
ETAGS = st.sampled_from("123")
FINE, COARSE = (ChipSpec(Grid(size), PixelSpec((1, 2, 3))) for size in (16, 32))
CHIP_SPECS = st.sampled_from([FINE.text(), COARSE.text()])
VERSIONS = st.sets(st.tuples(NAMES, ETAGS, CHIP_SPECS), max_size=20)


def plan(folder, archive, encoded, rejected=(), failed=(), prune=False, below=None, hides=False) -> Plan:
    """``archive`` maps uri to etag, and is to be cut fine; the others are of (uri, etag, cut)."""
    objects = [{"uri": uri, "etag": etag, "collection": "ours"} for uri, etag in archive.items()]
    old = [
        {
            "uri": uri,
            "etag": etag,
            "cut": cut,
            "collection": "theirs" if uri.startswith("b") else "ours",
            "file": number % 3,
        }
        for number, (uri, etag, cut) in enumerate(encoded)
    ]
    no = [{"uri": uri, "etag": etag, "cut": cut, "file": 0} for uri, etag, cut in rejected]
    listed = spill([pa.Table.from_pylist(objects, OBJECT_SCHEMA)], OBJECT_SCHEMA, folder / "listed.parquet")
    stand = spill([pa.Table.from_pylist(old, VERSION_SCHEMA)], VERSION_SCHEMA, folder / "encoded.parquet")
    never = spill([pa.Table.from_pylist(no, REJECTED_SCHEMA)], REJECTED_SCHEMA, folder / "rejected.parquet")
    listing = Listing(listed, len(archive), below, PassedOver(hides_objects=hides))
    state = Encoded(1, 1, ["0", "1", "2"], stand)
    chip_specs = ChipSpecs(COARSE, {"ours": FINE, "not there": COARSE})
    return make_plan(listing, chip_specs, Done(state, never), sorted(failed), folder, Rules(prune))


def rows(path: Path) -> list[dict]:
    return [row for table in read_spilled(path) for row in table.to_pylist()]


@settings(max_examples=25, deadline=None)
@given(
    st.dictionaries(NAMES, ETAGS, max_size=20), VERSIONS, VERSIONS, st.sets(NAMES, max_size=3), st.booleans()
)
def test_a_plan_is_what_sets_say(archive, encoded, rejected, failed, prune):
    with TemporaryDirectory() as folder:
        made = plan(Path(folder), archive, encoded, rejected, failed, prune)
        units = list(units_of(made.new, 4))
        old = rows(made.old)
    new = [(row["uri"], row["etag"], FINE.text()) for unit in units for row in unit.to_pylist()]
    wanted = {uri: (etag, FINE.text()) for uri, etag in archive.items()}
    undone = {(uri, *version) for uri, version in wanted.items()} - encoded
    assert new == sorted(version for version in undone - rejected if version[0] not in failed)
    assert all(len(unit) == 4 for unit in units[:-1])
    assert (made.num_new, made.num_rejected) == (len(new), len(undone & rejected))
    recut = {uri for uri, etag, _ in new if (uri, etag, COARSE.text()) in encoded}
    assert made.num_recut == len(recut)
    assert made.recut == ((min(recut), COARSE.text(), FINE.text()) if recut else None)
    changed = {
        (uri, *version)
        for uri, *version in encoded
        if uri not in failed and tuple(version) != wanted.get(uri, tuple(version))
    }
    gone = {version for version in encoded if version[0] not in archive and not version[0].startswith("b")}
    vanished = {uri for uri, *_ in gone} if archive else set()
    gone = gone if prune and archive else set()
    assert sorted((row["uri"], row["etag"], row["cut"]) for row in old) == sorted(changed | gone)
    assert made.num_old == len(old)
    assert (made.num_vanished, made.vanished) == (len(vanished), tuple(sorted(vanished)[:5]))
    assert [row["file"] for row in old] == sorted(row["file"] for row in old)


@pytest.mark.parametrize(("prune", "expected"), [(True, ["s3://a/x/2"]), (False, [])])
def test_a_prefix_answers_for_what_lies_below_it(tmp_path, prune, expected):
    encoded = [(uri, "1", FINE.text()) for uri in ("s3://a/x/1", "s3://a/x/2", "s3://a/xx/1", "s3://b/x/1")]
    made = plan(tmp_path, {"s3://a/x/1": "1"}, encoded, prune=prune, below="s3://a/x/")
    assert [row["uri"] for row in rows(made.old)] == expected


@given(st.lists(st.integers(0, 9)), st.integers(1, 7))
def test_pieces_hold_all_rows_in_order(sizes, size):
    numbers = iter(range(sum(sizes)))
    tables = [pa.table({"n": pa.array([next(numbers) for _ in range(rows)], pa.int64())}) for rows in sizes]
    pieces = list(in_pieces(tables, size))
    assert [n for piece in pieces for n in piece["n"].to_pylist()] == list(range(sum(sizes)))
    assert all(len(piece) == size for piece in pieces[:-1])
    assert all(0 < len(piece) <= size for piece in pieces)


def test_nothing_is_pruned_where_an_object_may_only_seem_to_be_gone(tmp_path):
    encoded = [("s3://a/x/1", "1", FINE.text()), ("s3://a/x/2", "1", FINE.text())]
    made = plan(tmp_path, {"s3://a/x/1": "2"}, encoded, prune=True, below="s3://a/x/", hides=True)
    assert [row["uri"] for row in rows(made.old)] == ["s3://a/x/1"], (
        "what has changed is replaced all the same"
    )
    assert (made.num_vanished, made.vanished) == (None, ()), "nobody knows"
