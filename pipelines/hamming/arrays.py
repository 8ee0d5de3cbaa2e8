"""The arrays that an index consists of, and how they are built from codes.

Shapes: N rows, U groups (distinct codes), Y bytes a code, K bits, P parts, W words of 64 bits.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipelines.hamming.bit_order import choose_order, lookup_table, reorder, words_of
from pipelines.hamming.blocks import Blocks, build_blocks, no_blocks
from pipelines.hamming.groups import Groups, group_rows, joined_groups
from pipelines.hamming.jit import UInt32s, Words
from pipelines.hamming.tables import Tables, build_tables, substrings

_MOST_ROWS = 2**32 - 1


class IndexArrays(NamedTuple):
    """A whole index. Each array can be mapped from a file."""

    order_K: NDArray[np.intp]
    """For each bit of the index its place in the table's codes; part after part."""
    part_bits_P: NDArray[np.int64]
    """Bits of each part. A part's bits start at a new word."""
    codes_WN: Words
    """The code of each row."""
    ranks_N: UInt32s
    """Order of rows with equal distances in an answer, the least first; empty: the order of rows."""
    groups: Groups
    """Rows with equal codes; where codes have several parts, rows with equal first parts."""
    tables: Tables
    """Over the groups. There are none where a scan is as fast."""
    substring_bits: int
    distinct: int
    """How many different codes there are."""
    blocks: Blocks
    """Codes in several parts, in the order in which they are scanned."""


def build_arrays(
    codes_NY: NDArray[np.uint8],
    ranks_N: UInt32s | None = None,
    part_bits: tuple[int, ...] | None = None,
) -> IndexArrays:
    """Build an index over packed codes, as in the code table.

    ``ranks_N``: order of rows with equal distances in an answer, the least first; None: the order of rows.
    ``part_bits``: bits of each part of a code, in the order of its bytes; None: one part. Raises ValueError
    unless codes are uint8 of 1 to 128 bytes, at most 2^32 - 1 of them, and their parts whole bytes.
    """
    if codes_NY.ndim != 2 or codes_NY.dtype != np.uint8 or not 1 <= codes_NY.shape[1] <= 128:
        raise ValueError(f"codes must be uint8 of shape (N, 1 to 128), not {codes_NY.dtype} {codes_NY.shape}")
    rows, width = codes_NY.shape
    if rows > _MOST_ROWS:
        raise ValueError(f"an index holds up to {_MOST_ROWS} rows, not {rows}; divide them over shards")
    bits = width * 8
    part_bits = (bits,) if part_bits is None else part_bits
    if sum(part_bits) != bits or any(part <= 0 or part % 8 for part in part_bits):
        raise ValueError(f"the parts of codes of {bits} bits are whole bytes of them, not {part_bits}")
    tables, length = substrings(part_bits[0], rows)
    first_width = part_bits[0] // 8
    first_order = choose_order(codes_NY[:, :first_width], tables, length)
    order_K = np.concatenate([first_order, np.arange(part_bits[0], bits)])
    codes_WN = np.empty((words_of(part_bits), rows), np.uint64)
    reorder(codes_NY, lookup_table(order_K, part_bits), codes_WN)
    ranks_N = np.empty(0, np.uint32) if ranks_N is None else ranks_N
    groups, blocks = group_rows(codes_WN, ranks_N), no_blocks()
    distinct = groups.codes_WU.shape[1]
    if len(part_bits) > 1:
        first_words = words_of(part_bits[:1])
        groups, blocks = joined_groups(groups, first_words), build_blocks(codes_WN, first_words)
    tables = tables if substrings(part_bits[0], groups.codes_WU.shape[1])[0] else 0
    return IndexArrays(
        order_K,
        np.array(part_bits, np.int64),
        codes_WN,
        ranks_N,
        groups,
        build_tables(groups, tables, length),
        length,
        distinct,
        blocks,
    )


def separate(arrays: IndexArrays) -> dict[str, NDArray[Any]]:
    """Return the arrays by name, to be written as one file each."""
    separated = arrays._asdict()
    separated |= {name: np.array(separated[name]) for name in ("substring_bits", "distinct")}
    for part in ("groups", "tables", "blocks"):
        separated |= {f"{part}.{name}": array for name, array in separated.pop(part)._asdict().items()}
    return separated


def joined(separated: Mapping[str, NDArray[Any]]) -> IndexArrays:
    """Return the index that `separate` was given."""
    return IndexArrays(
        separated["order_K"],
        separated["part_bits_P"],
        separated["codes_WN"],
        separated["ranks_N"],
        Groups(*(separated[f"groups.{name}"] for name in Groups._fields)),
        Tables(*(separated[f"tables.{name}"] for name in Tables._fields)),
        int(separated["substring_bits"]),
        int(separated["distinct"]),
        Blocks(*(separated[f"blocks.{name}"] for name in Blocks._fields)),
    )
