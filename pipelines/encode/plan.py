"""What a night has to do: the archive compared with the tables, joined on disk in bounded memory."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import structlog

from pipelines.encode.versions import Encoded
from pipelines.runtime.database import database, number, view, write
from pipelines.runtime.spill import read_spilled
from pipelines.sources.chip_specs import ChipSpecs
from pipelines.sources.listing import Listing

_EXAMPLES = 5  # of vanished objects, that are named

log = structlog.get_logger()


@dataclass(frozen=True)
class Plan:
    """What a run has to do to bring one version of the table up to the archive."""

    encoded: Encoded
    """The version that was compared."""
    new: Path
    """Parquet file of the objects to encode, ordered by uri, up or down: uri, etag, datetime, collection,
    properties."""
    old: Path
    """Parquet file of the versions of objects to remove after that: uri, etag, cut, file."""
    num_new: int
    """Objects to encode."""
    num_changed: int
    """Those of them that are encoded already: another version, or with another chip spec."""
    num_recut: int
    """Those of them whose present version is encoded, with another chip spec."""
    recut: tuple[str, str, str] | None
    """An example of these: its uri, its chip spec in the table, and its chip spec now."""
    num_rejected: int
    """Objects of the archive that are known to be rejects."""
    num_old: int
    """Versions of objects to remove."""
    num_vanished: int | None
    """Encoded objects that have vanished: the source lists them no more, though it covers them. None if the
    listing may not be whole. With ``prune`` they are among the objects to remove."""
    vanished: tuple[str, ...]
    """The first few of them, by uri."""

    def count(self, objects: set[tuple[str, str]]) -> int:
        """Return how many of some objects (uri, etag) are to be encoded."""
        if not objects:
            return 0
        uris = pa.array({uri for uri, _ in objects}, pa.string())
        uri = pc.field("uri")
        near = (uri >= pc.min(uris)) & (uri <= pc.max(uris))  # the file is in order: others aren't even read
        rows = pq.read_table(self.new, columns=["uri", "etag"], filters=near & uri.isin(uris))
        found = set(zip(rows["uri"].to_pylist(), rows["etag"].to_pylist(), strict=True))
        return len(objects & found)

    def has(self, objects: set[tuple[str, str]]) -> bool:
        """Return whether all of some objects (uri, etag) are to be encoded."""
        return self.count(objects) == len(objects)

    def sample(self, objects: int) -> list[dict[str, str]]:
        """Return uri, etag and collection of at most so many objects to encode, evenly spread over them."""
        step = max(1, -(-self.num_new // objects))
        found: list[dict[str, str]] = []
        seen = 0
        for piece in read_spilled(self.new):
            chosen = piece.take(list(range(-seen % step, len(piece), step)))
            found += chosen.select(["uri", "etag", "collection"]).to_pylist()
            seen += len(piece)
        return found


@dataclass(frozen=True)
class Done:
    """What earlier nights did."""

    encoded: Encoded
    """The table as it is now."""
    rejected: Path
    """Parquet file of the objects that were rejected: uri, etag, cut."""


@dataclass(frozen=True)
class Rules:
    """How a night compares."""

    prune: bool = False
    """Whether objects that have vanished are removed."""
    whole: bool = True
    """Whether the source was asked for all its objects: else it is unknown which have vanished."""
    from_the_end: bool = False
    """Whether the order of the objects to encode is turned around: another run begins at the front."""


def make_plan(
    listing: Listing, chip_specs: ChipSpecs, done: Done, failed: Sequence[str], folder: Path, rules: Rules
) -> Plan:
    """Compare the archive with the objects that are encoded or rejected.

    An object is done if its present version (etag) was encoded or rejected with the chip spec that it has
    now. Old versions of changed objects are to be removed, and with ``rules.prune`` all versions of objects
    that have vanished; but nothing is pruned if something that the listing passed over may be such an object.

    The objects in ``failed`` (uri) have an etag that is unknown this time: they are neither encoded nor
    removed. The plan's files go to ``folder``.
    """
    if listing.passed_over.hides_objects:
        if rules.prune:
            log.warning("nothing is pruned", passed_over=listing.passed_over.examples)
        rules = replace(rules, prune=False, whole=False)
    new, old = folder / "new.parquet", folder / "old.parquet"
    with database(folder) as sql:
        _show(sql, listing, chip_specs, done, failed)
        sql.execute(
            "CREATE TABLE source AS SELECT ? AS prune, ?::VARCHAR AS below, ? AS cut",
            [rules.prune, listing.below, chip_specs.default.text()],
        )
        sql.execute(_VIEWS)
        view(sql, "difference", write(sql, _DIFFERENCE, folder / "difference.parquet"))
        sql.execute("CREATE TABLE todo AS " + _TODO)
        sql.execute("CREATE TABLE recut AS " + _RECUT)
        write(sql, _NEW + ("DESC" if rules.from_the_end else ""), new)
        view(sql, "old", write(sql, _OLD, old))
        num_vanished, vanished = _vanished(sql) if rules.whole else (None, ())
        return Plan(
            encoded=done.encoded,
            new=new,
            old=old,
            num_new=number(sql, "SELECT count(*) FROM todo"),
            num_changed=number(sql, _CHANGED),
            num_recut=number(sql, "SELECT count(DISTINCT uri) FROM recut"),
            recut=sql.execute("FROM recut ORDER BY ALL LIMIT 1").fetchone(),
            num_rejected=number(sql, _REJECTED),
            num_old=number(sql, "SELECT count(*) FROM old"),
            num_vanished=num_vanished,
            vanished=vanished,
        )


def _show(
    sql: duckdb.DuckDBPyConnection, listing: Listing, chip_specs: ChipSpecs, done: Done, failed: Sequence[str]
) -> None:
    """Show the database what is compared, under the names that the queries below have for it."""
    declared = [
        {"collection": name, "cut": chip_spec.text()} for name, chip_spec in chip_specs.by_collection.items()
    ]
    sql.register("failed", pa.table({"uri": pa.array(failed, pa.string())}))
    sql.register("declared", pa.Table.from_pylist(declared, _DECLARED_SCHEMA))
    view(sql, "listed", listing.objects)
    view(sql, "encoded_as", done.encoded.objects)
    view(sql, "rejected_as", done.rejected)


def _vanished(sql: duckdb.DuckDBPyConnection) -> tuple[int, tuple[str, ...]]:
    """Return how many objects have vanished, and the first few of them."""
    sql.execute("CREATE TABLE vanished AS " + _VANISHED)
    rows = sql.execute("FROM vanished ORDER BY uri LIMIT ?", [_EXAMPLES]).fetchall()
    return number(sql, "SELECT count(*) FROM vanished"), tuple(uri for (uri,) in rows)


_DECLARED_SCHEMA = pa.schema([("collection", pa.string()), ("cut", pa.string())])

# Chip specs are compared by hash: there are few of them, each a text of a hundred bytes.
_VIEWS = """
    CREATE VIEW wanted AS
        SELECT listed.uri, listed.etag, hash(coalesce(declared.cut, source.cut)) AS cut
        FROM listed LEFT JOIN declared USING (collection) CROSS JOIN source;
    CREATE VIEW encoded AS SELECT * REPLACE (hash(cut) AS cut) FROM encoded_as;
    CREATE VIEW rejected AS SELECT * REPLACE (hash(cut) AS cut) FROM rejected_as;
    CREATE TABLE texts AS
        SELECT hash(cut) AS cut, cut AS text FROM (
            SELECT cut FROM encoded_as UNION SELECT cut FROM declared UNION SELECT cut FROM source
        )
"""

# The only join over all objects. What is on both sides, nearly everything, isn't written.
_DIFFERENCE = """
    SELECT wanted.uri AS listed_uri, wanted.etag AS listed_etag, wanted.cut AS listed_cut, encoded.*
    FROM wanted FULL JOIN encoded
        ON wanted.uri = encoded.uri AND wanted.etag = encoded.etag AND wanted.cut = encoded.cut
    WHERE wanted.uri IS NULL OR encoded.uri IS NULL
"""

_TODO = """
    SELECT listed_uri AS uri, listed_etag AS etag, listed_cut AS cut FROM difference
    ANTI JOIN rejected
        ON rejected.uri = listed_uri AND rejected.etag = listed_etag AND rejected.cut = listed_cut
    ANTI JOIN failed ON failed.uri = listed_uri
    WHERE listed_uri IS NOT NULL
"""

_NEW = """
    SELECT uri, etag, datetime, collection, properties FROM listed SEMI JOIN todo USING (uri) ORDER BY uri
"""

_CHANGED = "SELECT count(*) FROM todo WHERE uri IN (SELECT uri FROM difference WHERE uri IS NOT NULL)"

_RECUT = """
    SELECT todo.uri, was.text AS was, now.text AS now
    FROM todo JOIN difference ON difference.uri = todo.uri AND difference.etag = todo.etag
    JOIN texts was ON was.cut = difference.cut JOIN texts now ON now.cut = todo.cut
"""

_REJECTED = """
    SELECT count(*) FROM difference
    SEMI JOIN rejected
        ON rejected.uri = listed_uri AND rejected.etag = listed_etag AND rejected.cut = listed_cut
"""

_VANISHED = """
    SELECT DISTINCT stale.uri FROM difference stale ANTI JOIN listed USING (uri) CROSS JOIN source
    WHERE stale.uri IS NOT NULL AND CASE
        WHEN below IS NOT NULL THEN starts_with(stale.uri, below)
        ELSE stale.collection IN (SELECT collection FROM listed)
    END
"""

_OLD = """
    SELECT stale.uri, stale.etag, texts.text AS cut, stale.file
    FROM (SELECT * FROM difference WHERE uri IS NOT NULL) stale
    JOIN texts USING (cut) LEFT JOIN listed USING (uri) CROSS JOIN source
    WHERE CASE
        WHEN listed.uri IS NOT NULL THEN stale.uri NOT IN (SELECT uri FROM failed)
        WHEN NOT prune THEN false
        WHEN below IS NOT NULL THEN starts_with(stale.uri, below)
        ELSE stale.collection IN (SELECT collection FROM listed)
    END
    ORDER BY stale.file
"""
