"""`python -m jobs.query`: searches by example from the command line, and with a word, what else there is."""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from jobs.command import run_job
from pipelines.query.config import QueryConfig
from pipelines.query.explore_config import WORDS, ExploreConfig

if TYPE_CHECKING:
    from pipelines.api.answers import SearchAnswer
    from pipelines.query.explore import ExploreAnswer
    from pipelines.runtime.text_table import TextTable


def _search(config: QueryConfig) -> "SearchAnswer":
    from pipelines.query.run import run_query  # imported late, so that --help is quick

    return run_query(config)


def _search_table(answer: "SearchAnswer") -> "TextTable":
    from pipelines.query.answer_table import answer_table

    return answer_table(answer)


def _explore(config: ExploreConfig) -> "ExploreAnswer":
    from pipelines.query.explore import explore

    return explore(config)


def _explore_table(answer: "ExploreAnswer") -> "TextTable":
    from pipelines.query.explore_tables import explore_table

    return explore_table(answer)


def main(arguments: Sequence[str]) -> int:
    """Search, or ask what the first argument names; return the exit code."""
    word = arguments[0] if arguments else ""
    if word in WORDS:
        return run_job(f"query {word}", WORDS[word], _explore, arguments[1:], _explore_table)
    if word and not word.startswith("-"):
        message = f"jobs.query: there is no {word!r} to ask; write {', '.join(WORDS)}, or options of a search"
        print(message, file=sys.stderr)  # noqa: T201 - the error message of a command line
        return 2
    return run_job("query", QueryConfig, _search, arguments, _search_table)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
