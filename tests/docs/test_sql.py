"""The SQL recipes of the guide, on a table of codes in two parts, against plain numpy.

Shapes: N chips, Y bytes a code.
"""

import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from deltalake import write_deltalake

PAGE = Path(__file__).parents[2] / "docs/guide/query.md"
NEAREST, CHANGED = re.findall(r"```sql\n(.*?)```", PAGE.read_text(), re.DOTALL)
CODES_NY = np.random.default_rng(0).integers(0, 256, (40, 32), np.uint8)
CODES_NY[20:, :8] = CODES_NY[0, :8]  # so that there are ties in kind


@pytest.fixture
def sql() -> Iterator[duckdb.DuckDBPyConnection]:
    """Twenty places, two pictures of each."""
    codes = pa.table(
        {
            "chip_id": [f"chip-{number:02}" for number in range(40)],
            "code": pa.array([code_Y.tobytes() for code_Y in CODES_NY], pa.binary()),
            "collection": ["c"] * 40,
            "datetime": [datetime(2025 + number // 20, 1, 1, tzinfo=UTC) for number in range(40)],
            "bbox": [
                {"xmin": x, "xmax": x + 1, "ymin": 0.0, "ymax": 1.0} for x in map(float, [*range(20)] * 2)
            ],
        }
    )
    with duckdb.connect() as connection:
        connection.register("codes", codes)
        yield connection


@pytest.mark.server
def test_the_table_becomes_codes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The example in Python, on a Delta table of two versions, and then a query of the page."""
    ids = [f"chip-{number:02}" for number in range(40)]
    rows = pa.table(
        {"chip_id": ids, "code": [code_Y.tobytes() for code_Y in CODES_NY], "collection": ["c"] * 40}
    )
    write_deltalake(f"{tmp_path}/codes", rows.slice(0, 30))
    write_deltalake(f"{tmp_path}/codes", rows.slice(30), mode="append")
    monkeypatch.setenv("TABLE", f"{tmp_path}/codes")
    (example,) = (
        text for text in re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL) if "DeltaT" in text
    )
    for version, chips in (("0", 30), ("1", 40)):
        monkeypatch.setenv("VERSION", version)
        query = NEAREST.replace("'...'", "'chip-05'").replace("LIMIT 10", "")
        program = f"{example}\nprint(*duckdb.sql({query!r}).fetchall(), sep='\\n')"
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
        found = re.findall(r"^\('(chip-\d+)'", done.stdout, re.MULTILINE)
        assert (found[0], sorted(found)) == ("chip-05", ids[:chips])


def differing(first: int, second: int, part: slice) -> int:
    return int(np.bitwise_count(CODES_NY[first, part] ^ CODES_NY[second, part]).sum())


def test_the_nearest(sql: duckdb.DuckDBPyConnection) -> None:
    found = [row[0] for row in sql.execute(NEAREST.replace("'...'", "'chip-05'")).fetchall()]
    kind, look = ([differing(5, other, part) for other in range(40)] for part in (slice(8), slice(8, 32)))
    assert found == [f"chip-{n:02}" for n in sorted(range(40), key=lambda n: (2 * kind[n] + look[n], n))[:10]]
    by_kind = NEAREST.replace("ORDER BY distance", "ORDER BY kind, look").replace("'...'", "'chip-25'")
    found = [row[0] for row in sql.execute(by_kind).fetchall()]
    kind, look = ([differing(25, other, part) for other in range(40)] for part in (slice(8), slice(8, 32)))
    assert found == [f"chip-{n:02}" for n in sorted(range(40), key=lambda n: (kind[n], look[n], n))[:10]]


def test_what_changed_most(sql: duckdb.DuckDBPyConnection) -> None:
    changed = sorted((-differing(n, n + 20, slice(8, 32)), n) for n in range(20))[:10]
    assert sql.execute(CHANGED).fetchall() == [(f"chip-{n:02}", f"chip-{n + 20:02}", -c) for c, n in changed]
