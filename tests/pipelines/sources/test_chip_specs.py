"""How a night cuts its archive: the config against the model, and several sensors in one night."""

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from model.spec import InputSpec
from pipelines.encode.config import EncodeConfig
from pipelines.encode.run import run_encode
from pipelines.errors import ConfigError, TableError
from pipelines.imagery.chip_spec import ChipSpec
from pipelines.imagery.grid import Grid
from pipelines.imagery.pixels import PixelSpec
from pipelines.sources.chip_specs import chip_specs_of, pixel_spec
from pipelines.sources.config import PixelConfig
from pipelines.sources.listing import list_source
from pipelines.storage.store import Store
from pipelines.table.code_table import CodeTable
from pipelines.table.schema import CODE_SCHEMA
from tests.pipelines.encode.changing import encode_in_process
from tests.pipelines.encode.faults import Killed, Operations, killed_after

DEEP = {"bands": (4, 3, 2), "low": (100, 100, 100), "high": (3000, 3000, 3000)}
LINEAGE = ("run_id", "encoded_at")


@dataclass(frozen=True)
class Archive:
    """Two sensors: ``aerial``, 8 bits in three bands, and ``deep``, 16 bits in four; two scenes of each."""

    config: EncodeConfig
    model_id: str
    store: Store

    def night(self, **changes: object) -> EncodeConfig:
        return EncodeConfig.model_validate(self.config.model_dump() | changes)

    def write_manifest(self, name: str, *collections: str) -> str:
        """List the scenes of some collections; return the manifest's name."""
        lines = [f"{collection}-{number}.tif,{collection}" for collection in collections for number in (0, 1)]
        uri = self.config.source.replace("list.csv", name)
        self.store.write(uri, "\n".join(["uri,collection", *lines]).encode())
        return uri

    def rows(self, config: EncodeConfig) -> list[dict[str, object]]:
        """All rows of a table, lineage aside, in the order of their chip ids."""
        columns = [name for name in CODE_SCHEMA.names if name not in LINEAGE]
        rows = CodeTable(config.table, self.store).read(self.model_id, columns).to_pylist()
        return sorted(rows, key=lambda row: str(row["chip_id"]))


@pytest.fixture
def archive(store, tmp_path, write_model, geotiff, monkeypatch):
    """The archive on disk, its manifest, and a night over it that needs no Ray."""
    encode_in_process(monkeypatch)
    rng = np.random.default_rng(0)
    for number in (0, 1):
        aerial_HWC = rng.integers(1, 255, (32, 32, 3), np.uint8)
        deep_HWC = rng.integers(100, 3000, (32, 32, 4), np.uint16)
        store.write(f"{tmp_path}/aerial-{number}.tif", geotiff(aerial_HWC, west=10.0 * number))
        store.write(f"{tmp_path}/deep-{number}.tif", geotiff(deep_HWC, west=10.0 * number))
    bundle, manifest = write_model(str(tmp_path), "tiny")
    config = EncodeConfig(
        source=f"{tmp_path}/list.csv",
        table=f"{tmp_path}/codes",
        bundle=bundle,
        chip_size=16,
        store=store.config,
    )
    archive = Archive(config, manifest.model_id, store)
    archive.write_manifest("list.csv", "aerial", "deep")
    return archive


def test_one_night_over_two_sensors_gives_the_rows_of_two(archive):
    together = archive.night(collection_pixels={"deep": DEEP})
    report = run_encode(together)
    assert (report.chips, report.rejects, report.failed) == (16, {}, [])

    separate = archive.night(table=archive.config.table + "_separate")
    run_encode(separate.model_copy(update={"source": archive.write_manifest("aerial.csv", "aerial")}))
    deep = separate.model_copy(update={"pixels": PixelConfig(**DEEP)})
    run_encode(deep.model_copy(update={"source": archive.write_manifest("deep.csv", "deep")}))
    rows = archive.rows(together)
    assert rows == archive.rows(separate)
    chip_specs = {row["collection"]: ChipSpec.read(row["cut"]) for row in rows}
    grid = Grid(16, edges="shift", min_valid_fraction=0.5)
    assert chip_specs["aerial"] == ChipSpec(grid, PixelSpec((1, 2, 3)))
    assert chip_specs["deep"] == ChipSpec(grid, PixelSpec((4, 3, 2), (100.0,) * 3, (3000.0,) * 3))


def test_what_was_cut_otherwise_is_refused_or_encoded_again(archive, monkeypatch):
    """It is told before anything is done; encoded again, the table is as if it had always been cut so."""
    config = archive.night(collection_pixels={"deep": DEEP}, objects_per_unit=1)
    run_encode(config)
    before = archive.rows(config)
    wider = config.model_copy(update={"chip_size": 32})
    was, now = (r'"chip_size":16,.*', r'"chip_size":32,.*')
    with pytest.raises(
        ConfigError,
        match=rf"stopped: 4 objects .* such as .*aerial-0\.tif: {{.*{was}}}, and now {{.*{now}}}; "
        r"the difference is chip_size 16, now 32\. .*--recut",
    ):
        run_encode(wider)
    other_pixels = archive.night(collection_pixels={"deep": DEEP | {"bands": (1, 2, 3)}})
    with pytest.raises(
        ConfigError, match=r'stopped: 2 objects .*deep-0.*"bands":\[4,3,2\].*"bands":\[1,2,3\]'
    ):
        run_encode(other_pixels)
    assert archive.rows(config) == before, "nothing was done"

    again = wider.model_copy(update={"recut": True})
    break_off(again, monkeypatch)
    with pytest.raises(ConfigError, match="stopped: 2 objects"):
        run_encode(wider)
    report = run_encode(config)
    assert (report.new, report.chips, report.removed, archive.rows(config)) == (0, 0, 2, before), "back again"
    break_off(again, monkeypatch)
    report = run_encode(again)
    assert (report.new, report.changed, report.chips, report.removed) == (2, 2, 2, 16)
    fresh = wider.model_copy(update={"table": f"{config.table}_fresh"})
    run_encode(fresh)
    assert archive.rows(wider) == archive.rows(fresh)
    assert run_encode(wider).new == 0


def break_off(config, monkeypatch):
    """Begin a night; it is killed after two of its units."""
    with monkeypatch.context() as patch:
        Operations(patch).let(killed_after, 6)  # two to make the tables, which are there; two in each unit
        with pytest.raises(Killed):
            run_encode(config)


def test_what_was_rejected_is_tried_again_when_it_is_cut_otherwise(archive):
    undeclared = archive.night(gate={"max_reject_share": 1})
    report = run_encode(undeclared)
    assert (report.chips, report.rejects) == (8, {"wrong_bands": 2})
    assert run_encode(undeclared).new == 0
    report = run_encode(archive.night(collection_pixels={"deep": DEEP}))
    assert (report.new, report.chips, report.rejects) == (2, 8, {})


def test_pixels_of_a_collection_stand_for_themselves():
    """What they leave open is the model's, not the night's."""
    config = EncodeConfig(
        source="s", table="t", bundle="b", pixels={"nodata": 7}, collection_pixels={"deep": DEEP, "plain": {}}
    )
    chip_specs = chip_specs_of(config, InputSpec(low=(0, 0, 0), high=(9, 9, 9)))
    assert chip_specs.of("any other").pixels == PixelSpec((1, 2, 3), (0, 0, 0), (9, 9, 9), nodata=7)
    assert chip_specs.of("plain").pixels == PixelSpec((1, 2, 3), (0, 0, 0), (9, 9, 9))
    assert chip_specs.of("deep").pixels == PixelSpec(**DEEP)
    with pytest.raises(
        ConfigError, match=r"collection_pixels\.deep: bands must have 1 entries.*1 in training.*not 3"
    ):
        chip_specs_of(config, InputSpec(bands=(1,), mean=(0.5,), std=(0.2,)))


def test_collections_that_the_source_cannot_name_are_told(archive, tmp_path):
    declared = archive.night(collection_pixels={"depe": DEEP})
    with capture_logs() as told:
        list_source(declared, archive.store, tmp_path)
    assert [line for line in told if "names collections without objects" in line["event"]] != []
    assert "depe" in str(told)
    with capture_logs() as told:
        list_source(archive.night(collection_pixels={"deep": DEEP}), archive.store, tmp_path)
    assert [line for line in told if "names collections without objects" in line["event"]] == []
    with pytest.raises(ConfigError, match="collection_pixels names depe, and a listing names no collections"):
        list_source(declared.model_copy(update={"source": str(tmp_path)}), archive.store, tmp_path)


numbers = st.integers(-9999, 9999).map(lambda number: number / 4)
triples = st.just(()) | st.tuples(numbers, numbers, numbers)
grids = st.builds(Grid, st.integers(8, 4096), st.none() | st.integers(1, 99), st.none() | numbers)
specs = st.builds(
    PixelSpec,
    st.just((4, 3, 2)),
    triples,
    triples,
    st.none() | st.tuples(numbers, numbers),
    st.none() | numbers,
)


@given(grids, specs, grids, specs)
def test_a_cut_is_read_from_its_text(grid, pixels, other_grid, other_pixels):
    cut, other = ChipSpec(grid, pixels), ChipSpec(other_grid, other_pixels)
    assert ChipSpec.read(cut.text()) == cut
    assert (cut.text() == other.text()) == (cut == other)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"chip_size":16,"bands":[1],"colour":2}'])
def test_what_is_no_cut_is_told(text):
    with pytest.raises(TableError, match="the column cut holds"):
        ChipSpec.read(text)


def test_the_config_overrides_what_the_model_was_trained_on():
    deep = InputSpec(low=(0, 0, 0), high=(4000, 4000, 4000))
    assert pixel_spec(InputSpec(), PixelConfig()) == PixelSpec((1, 2, 3))
    assert pixel_spec(deep, PixelConfig()) == PixelSpec((1, 2, 3), (0, 0, 0), (4000, 4000, 4000))
    stretched = pixel_spec(deep, PixelConfig(bands=(4, 3, 2), percentiles=(2, 98), nodata=-1, mask=False))
    assert stretched == PixelSpec((4, 3, 2), (), (), (2, 98), -1, False)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ({"bands": (1, 2)}, r"pixels: bands must have 3 entries.*\(1, 2, 3 in training\), not 2"),
        ({"low": (0,), "high": (1,)}, "pixels: low and high must have 3 entries"),
    ],
)
def test_what_does_not_fit_the_model_is_told(override, message):
    with pytest.raises(ConfigError, match=message):
        pixel_spec(InputSpec(), PixelConfig(**override))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ({"low": (0,), "high": (1, 2)}, "as many entries"),
        ({"low": (5,), "high": (5,)}, "low must be below high"),
        ({"bands": (0,)}, "numbered from 1"),
        ({"percentiles": (98, 2)}, "must rise"),
        ({"percentiles": (2, 98), "low": (0,), "high": (1,)}, "not both"),
    ],
)
def test_what_makes_no_sense_is_told(override, message):
    with pytest.raises(ValueError, match=message):
        PixelConfig(**override)
