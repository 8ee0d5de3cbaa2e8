"""What a target of the fuzzer is."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from hypothesis.strategies import SearchStrategy


class Wrong(Exception):  # noqa: N818 - a verdict, not an error of this program
    """An answer that can't be right."""


@dataclass(frozen=True)
class Target:
    """Inputs, and what is done with them."""

    name: str
    inputs: SearchStrategy[Any]
    prepared: Callable[[], AbstractContextManager[Callable[[Any], None]]]
    """Yields what tries one input. It catches the refusals that callers are promised, raises `Wrong` for an
    answer that can't be right, and lets through what would be a traceback."""


def check(truth: bool, what: str) -> None:
    """Raise `Wrong` unless something holds."""
    if not truth:
        raise Wrong(what)
