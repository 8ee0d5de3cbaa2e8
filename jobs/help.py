"""What `--help` and `--help-all` print: the options of a job in groups, in words for whoever types them."""

import shutil
import textwrap
import types
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, is_dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import AwareDatetime, BaseModel, SecretStr
from pydantic.fields import FieldInfo

from jobs.program import called
from pipelines.config import BundleUri, LocalPath, Uri

FIRST = {
    "demo": ("output", "keep", "port", "mlflow_port"),
    "evaluate": ("bundle", "source", "output", "features.cache", "tracking.uri"),
    "maintain": ("table", "keep_days", "keep_publications", "dry_run", "store.endpoint"),
    "nightly": ("source", "table", "bundle", "chip_size", "dry_run"),
    "publish": ("table", "history", "rollback", "version", "force"),
    "query": ("chip_id", "point", "image", "k", "open"),
    "query changes": ("bbox", "before", "after", "k", "key"),
    "query collections": ("key",),
    "query coverage": ("bbox", "width", "height", "key"),
    "query dates": ("chip_id", "limit", "key"),
    "query grid": ("chip_id", "point", "view", "max_distance", "key"),
    "query here": ("bbox", "intersects", "limit", "export", "key"),
    "serve": ("table", "key_hashes", "open", "host", "port"),
    "submit": ("template", "name", "owner.name", "owner.uid"),
    "train": ("source", "bundles", "preset", "tracking.uri", "dry_run"),
    "watch add": ("watches", "name", "table", "chip_id", "max_distance"),
    "watch list": ("watches",),
    "watch remove": ("watches", "name"),
    "watch run": ("watches", "output", "name"),
}
"""The options that matter first, by job: those that are required, and those that most people set."""

GROUPS = {
    "source": "source asset search since until by collection suffixes samples prune max_prune_share",
    "chips": "chip_size stride resolution edges pixels collection_pixels min_valid_fraction recut split",
    "model": "bundle bundles preset look_from name alias promote network input weights features",
    "training": "recipe augment objective orthohash pairwise triplet seed",
    "work": "workers use_gpu objects_per_unit encoders gpus_per_encoder batch_size dry_run",
    "example": "chip_id negative_id point code image",
    "filters": "bbox intersects datetime",
    "answer": "k max_distance compare kind_weight rank_by snapshot all open output export view width height "
    "before after min_distance limit",
    "access": "key key_hashes admin_key_hashes cors_origins url host",
    "gate": "gate",
    "places": "places",
    "store": "store",
    "tracking": "tracking track",
}
"""Groups of options by the first part of their names; the first group that names one has it."""

_FILTERS = {"collection": "filters", "min_valid_fraction": "filters"}
_JOBS_GROUPS = {
    "publish": {"table": "publication", "version": "publication", "force": "publication"}
    | {"rollback": "publication", "history": "publication"},
    **dict.fromkeys(("query", "query changes", "query grid", "query here"), _FILTERS),
    "query dates": {"collection": "filters"},
    "serve": {"open": "access"},
    "watch add": _FILTERS | {"name": "watch"} | {"from_start": "watch", "replace": "watch", "notes": "watch"},
}
"""Options that mean something else in these jobs than in others."""

_PLACES = {
    get_args(annotation)[1]: name
    for annotation, name in ((Uri, "ADDRESS"), (BundleUri, "MODEL"), (LocalPath, "FILE"))
}
"""By what checks them: values that are all text, and mean different things."""
_NAMES = {str: "TEXT", SecretStr: "TEXT", Path: "FILE", int: "NUMBER", float: "NUMBER", datetime: "TIME"}
_NAMES |= {AwareDatetime: "TIME", dict: "JSON"}
_WIDTH = 100  # columns at most


@dataclass(frozen=True)
class Option:
    """One option of a job."""

    name: str
    """As in the config, with dots: store.endpoint"""
    flag: str
    """As on the command line: --store.endpoint"""
    value: str
    """What is written after it, such as NUMBER; empty: nothing"""
    text: str
    default: str
    is_required: bool


def help_text(job: str, config_type: type[BaseModel], *, has_all: bool) -> str:
    """Return the help of a job: all options, or those that matter first and the names of the others."""
    options = {option.name: option for option in options_of(config_type)}
    first = [options.pop(name) for name in FIRST[job]]
    required = " ".join(f"{option.flag} {option.value}" for option in first if option.is_required)
    parts = [f"usage: {called(job)} {required}".rstrip(), ""]
    parts += _wrapped(config_type.__doc__ or "", "")
    parts += ["", *(line for option in first for line in _lines(option))]
    groups: dict[str, list[Option]] = {}
    for option in options.values():
        groups.setdefault(group_of(job, option.name), []).append(option)
    for group in sorted(groups, key=_place):
        if has_all:
            parts += ["", f"{group}:", *(line for option in groups[group] for line in _lines(option))]
        else:
            flags = " ".join(option.flag for option in groups[group])
            parts += ["", *_wrapped(f"{group}: {flags}", "", break_on_hyphens=False)]
    more = "--help-all explains these options. " if groups and not has_all else ""
    parts += ["", *_wrapped(more + _END, "")]
    return "\n".join(parts)


_END = (
    "--config FILE reads any of them from YAML; SCENEHASH_TABLE is --table, SCENEHASH_STORE__ENDPOINT is "
    "--store.endpoint. --json prints the result as one line of JSON."
)


def group_of(job: str, name: str) -> str:
    """Return the group of an option; "more" if no group names it."""
    top = name.partition(".")[0]
    own = _JOBS_GROUPS.get(job, {}).get(top)
    return own or next((group for group, names in GROUPS.items() if top in names.split()), "more")


def _place(group: str) -> int:
    order = ["publication", "watch", *GROUPS, "more"]
    return order.index(group)


def options_of(
    config_type: Any,  # noqa: ANN401 - model or dataclass
    prefix: str = "",
    *,
    is_optional: bool = False,
) -> Iterator[Option]:
    """Yield the options of a config and of the configs in it. One that is optional requires none of them."""
    fields: dict[str, FieldInfo] = config_type.__pydantic_fields__
    for name, field in fields.items():
        inner = _config_in(field.annotation)
        if inner is not None:
            yield from options_of(inner, f"{prefix}{name}.", is_optional=not field.is_required())
        else:
            yield _option(f"{prefix}{name}", field, is_required=field.is_required() and not is_optional)


def _option(name: str, field: FieldInfo, *, is_required: bool) -> Option:
    is_switch, is_on = field.annotation is bool, field.default is True
    flag = f"{'no-' if is_switch and is_on else ''}{name.replace('_', '-')}"
    return Option(
        name=name,
        flag=f"-{flag}" if len(flag) == 1 else f"--{flag}",
        value="" if is_switch else value_name(field.annotation, field.metadata),
        text=("Turns off: " if flag.startswith("no-") else "") + " ".join((field.description or "").split()),
        default="" if is_switch or field.is_required() else _default(field),
        is_required=is_required,
    )


def _config_in(annotation: object) -> Any:  # noqa: ANN401 - model or dataclass
    """Return the config that a field holds, or None if it holds a plain value."""
    kinds = get_args(annotation) if get_origin(annotation) in (Union, types.UnionType) else (annotation,)
    for kind in kinds:
        if isinstance(kind, type) and (is_dataclass(kind) or issubclass(kind, BaseModel)):
            return kind
    return None


def value_name(annotation: Any, metadata: Sequence[object] = ()) -> str:  # noqa: ANN401 - any annotation
    """Return the word for the values of an annotation: TEXT, NUMBER, TIME, ADDRESS, a|b|c, ..."""
    for each in metadata:
        if name := _PLACES.get(each):
            return name
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return value_name(inner[0], inner[1:])
    if origin is Literal:
        return "|".join(map(str, inner))
    if origin in (Union, types.UnionType):
        return value_name(next(kind for kind in inner if kind is not type(None)))
    if origin is tuple:
        names = [value_name(kind) for kind in inner if kind is not Ellipsis]
        return ",".join(names) if len(names) > 1 else f"{names[0]},..."
    return _NAMES.get(origin or annotation, "TEXT")


def _default(field: FieldInfo) -> str:
    default = field.get_default(call_default_factory=True, validated_data={})
    if default is None or default in ("", (), {}):
        return ""
    return ",".join(map(str, default)) if isinstance(default, tuple) else str(default)


def _lines(option: Option) -> list[str]:
    note = " (required)" if option.is_required else f" [{option.default}]" if option.default else ""
    return [f"  {option.flag} {option.value}".rstrip(), *_wrapped(f"{option.text}{note}", " " * 8)]


def _wrapped(text: str, indent: str, *, break_on_hyphens: bool = True) -> list[str]:
    width = min(shutil.get_terminal_size().columns, _WIDTH)
    return textwrap.wrap(
        " ".join(text.split()),
        width,
        initial_indent=indent,
        subsequent_indent=indent or "  " * (not break_on_hyphens),
        break_on_hyphens=break_on_hyphens,
        break_long_words=False,
    )
