"""Tables of text: aligned columns for a person at a terminal, tab-separated lines for a script."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

_GAP = "  "


@dataclass(frozen=True)
class TextTable:
    """A header and rows of the same number of cells."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    details: Sequence[str] = ()
    """Names of columns that one copies from; if a terminal is too narrow, each has a line of its own"""
    numbers: Sequence[str] = ()
    """Names of columns that are aligned at the right"""
    dim: Sequence[bool] = ()
    """For each row, whether it is of less interest; empty: none is"""
    summary: str = ""
    """A line below the table"""


def print_table(table: TextTable, output: Console, messages: Console) -> None:
    """Print a table: aligned if ``output`` is a terminal, else as tab-separated lines with a header.

    Nothing is cut. The summary goes below the table, or to ``messages`` if the output isn't a terminal.
    """
    if output.is_terminal:
        for line in _aligned(table, output.width):
            output.print(line, soft_wrap=True)  # whole lines: the terminal wraps them, a copy has no breaks
    else:
        for row in (table.header, *table.rows):
            output.file.write("\t".join(plain(text).plain for text in row) + "\n")
    if table.summary:
        place = output if output.is_terminal else messages
        place.print(plain(table.summary), soft_wrap=not place.is_terminal, style="dim")


def plain(text: str) -> Text:
    """Return a text without anything that rich, a terminal or a reader of columns would interpret."""
    return Text("".join(letter if letter.isprintable() else "\ufffd" for letter in text))


def _aligned(table: TextTable, width: int) -> list[Text]:
    """Return the lines of a table for a terminal of so many columns."""
    columns = [[name, *(row[number] for row in table.rows)] for number, name in enumerate(table.header)]
    columns = [[plain(text).plain for text in column] for column in columns]
    widths = [max(map(cell_len, column)) for column in columns]
    fits = sum(widths) + len(_GAP) * (len(widths) - 1) <= width
    below = [] if fits else [n for n, name in enumerate(table.header) if name in table.details]
    beside = [n for n in range(len(columns)) if n not in below]
    lines = []
    for number, (_, is_dim) in enumerate(zip_longest(columns[0], [False, *table.dim], fillvalue=False)):
        cells = [_pad(columns[n][number], widths[n], table.header[n] in table.numbers) for n in beside]
        style = "bold" if number == 0 else "dim" if is_dim else ""
        lines.append(Text(_GAP.join(cells).rstrip(), style))
        if number:
            lines += [
                Text(f"    {table.header[n]}  {columns[n][number]}", style)
                for n in below
                if columns[n][number]
            ]
    return lines


def _pad(text: str, width: int, is_number: bool) -> str:
    spaces = " " * (width - cell_len(text))
    return spaces + text if is_number else text + spaces
