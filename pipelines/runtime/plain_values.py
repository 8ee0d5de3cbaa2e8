"""Values as text for a person: in reports, and in log lines on a terminal."""

from collections.abc import Mapping, Sequence

from pydantic import BaseModel

_MOST = 5  # of a list or mapping


def is_empty(value: object) -> bool:
    """Return whether a value says nothing: None, False, or without content. Zero says something."""
    return value is None or value is False or value in ("", (), [], {})


def text_of(value: object) -> str:
    """Return a value as text: no brackets and quotes, four digits, the first five of many."""
    if isinstance(value, BaseModel):
        value = dict(value)
    if isinstance(value, Mapping):
        known = {name: each for name, each in value.items() if not is_empty(each)}
        return _joined(
            [f"{str(name).replace('_', ' ')} {text_of(each)}" for name, each in known.items()], ", "
        )
    if isinstance(value, Sequence) and not isinstance(value, str):
        return _joined([text_of(each) for each in value], "; " if isinstance(value[0], BaseModel) else ", ")
    if isinstance(value, bool):
        return "yes"
    return f"{value:.4g}" if isinstance(value, float) and value % 1 else f"{value}"


def _joined(texts: Sequence[str], separator: str) -> str:
    more = [f"and {len(texts) - _MOST} more (--json)"] if len(texts) > _MOST + 1 else []
    return separator.join([*(texts[:_MOST] if more else texts), *more])
