"""Asks a query service, and shows its answer as pictures if that is wanted."""

import sys
import tempfile
import webbrowser
from collections.abc import Iterator
from pathlib import Path

from pipelines.api.answers import Match, SearchAnswer
from pipelines.client import Client
from pipelines.errors import ConfigError
from pipelines.query.config import QueryConfig
from pipelines.query.export import every_match, export
from pipelines.query.search_request import image_limits, read_image, search_request
from pipelines.query.service import connected
from pipelines.query.sheet import make_sheet, render


def run_query(config: QueryConfig) -> SearchAnswer:
    """Ask the service, write the contact sheet and the export that are wanted, and return the answer.

    Raises QueryError if the service gives no answer, ConfigError if the query isn't valid or the sheet can't
    be written.
    """
    with connected(config) as client:
        answer = _ask(client, config)
        if config.open or config.output is not None:
            file = _write(render(make_sheet(client, config, answer)), config.output)
            _print_file(file, is_shown=config.open and webbrowser.open(file.as_uri()))
        if config.export is not None:
            export(every_match(client, config, answer.search.snapshot), config.export)
    return answer


def _ask(client: Client, config: QueryConfig) -> SearchAnswer:
    if config.image is not None:
        pages = client.image_pages(read_image(config.image), image_limits(config))
    else:
        pages = client.pages(search_request(config))
    return join_pages(pages) if config.all else next(pages)


def join_pages(pages: Iterator[SearchAnswer]) -> SearchAnswer:
    """Return all pages as one answer. Its ``codes_compared`` and ``took_ms`` are the sums over the pages."""
    features: list[Match] = []
    codes_compared, took_ms = 0, 0.0
    for page in pages:
        features += page.features
        codes_compared += page.search.codes_compared
        took_ms += page.search.took_ms
    cost = {"codes_compared": codes_compared, "took_ms": round(took_ms, 3)}
    whole = {"features": features, "numberReturned": len(features), "links": ()}
    return page.model_copy(update=whole | {"search": page.search.model_copy(update=cost)})


def _write(html: str, output: Path | None) -> Path:
    """Write the sheet to ``output``, or to a temporary file that only the user can read; return the file."""
    try:
        if output is None:
            with tempfile.NamedTemporaryFile(prefix="scenehash-", suffix=".html", delete=False) as file:
                output = Path(file.name)
        output.write_text(html, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"output {output} can't be written: {error.strerror}") from error
    return output.absolute()


def _print_file(file: Path, *, is_shown: bool) -> None:
    print(f"contact sheet{' shown' if is_shown else ''}: {file}", file=sys.stderr)  # noqa: T201 - it has no other output
