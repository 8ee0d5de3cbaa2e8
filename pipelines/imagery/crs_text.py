"""Checks a coordinate system that a GeoTIFF carries as text, before GDAL and PROJ read it.

GDAL gives such a text to PROJ, which opens the grids of a datum shift at any path that the text names. A pipe
or a device there would block the reader for ever.
"""

import re
from collections.abc import Iterator

MARKER = b"esri pe string"
"""Begins the text in a GeoTIFF's citation, in any case; what follows is WKT, up to a zero byte."""
LONGEST = 1 << 20
"""Bytes of a text in an object that is read by ranges; a longer one isn't read."""
NAMES_A_FILE = "its coordinate system names a file, which would be opened"
"""Why an object with such a text is refused."""
_PIECE = 1 << 22  # bytes that are searched at a time

_NAMES_A_FILE = re.compile(
    rb'proj4_grids(?!"\s*,\s*"@null")|parameterfile|(?:projection|method)\s*[\[(]\s*"\s*proj[\s-]'
    rb'|(?:grids|init|file|model|catalog)\s*=(?!@null(?:[\s"]|$))',
    re.IGNORECASE,
)
_PROJ4 = re.compile(rb'"\s*proj4\s*"', re.IGNORECASE)
_PROJ4_STRING = re.compile(rb'\s*,\s*"([^"]*)"(?!")')
_HARMLESS_PARAMETER = re.compile(rb"\+?\w+(?:=[\w.,+@-]*)?")
"""A parameter of a PROJ string whose value is a number or a name, not a path."""


def names_a_file(content: bytes) -> bool:
    """Return whether a GeoTIFF has a coordinate system as text that names a file.

    GDAL itself writes a PROJ string into such a text for things that WKT 1 can't express, such as the sweep
    of a geostationary satellite. Such a string names no file, and is allowed.
    """
    return any(text_names_a_file(text) for text in _crs_texts(content))


def _crs_texts(content: bytes) -> Iterator[bytes]:
    """Yield each text of a coordinate system. Each byte is read a bounded number of times."""
    done = 0  # texts up to here have been yielded
    for start in range(0, len(content), _PIECE):
        piece = content[start : start + _PIECE + len(MARKER) - 1].lower()
        while (at := piece.find(MARKER, max(0, done - start))) >= 0:
            end = content.find(b"\0", start + at)
            done = end if end >= 0 else len(content)
            yield content[start + at : done]


def text_names_a_file(text: bytes) -> bool:
    """Return whether one such text names a file, or anything that can't be told from one."""
    if _NAMES_A_FILE.search(text):
        return True
    return any(not _is_harmless(text, found.end()) for found in _PROJ4.finditer(text))


def _is_harmless(text: bytes, start: int) -> bool:
    """Return whether a PROJ string starts here, with only numbers and names as parameters."""
    string = _PROJ4_STRING.match(text, start)
    return string is not None and all(map(_HARMLESS_PARAMETER.fullmatch, string[1].split()))
