"""`python -m jobs.query`: searches by example from the command line."""

from typing import TYPE_CHECKING

from jobs.command import run_job
from pipelines.query.config import QueryConfig

if TYPE_CHECKING:
    from pipelines.api.answers import SearchAnswer
    from pipelines.runtime.text_table import TextTable


def _run(config: QueryConfig) -> "SearchAnswer":
    from pipelines.query.run import run_query  # imported late, so that --help is quick

    return run_query(config)


def _table(answer: "SearchAnswer") -> "TextTable":
    from pipelines.query.answer_table import answer_table

    return answer_table(answer)


if __name__ == "__main__":
    raise SystemExit(run_job("query", QueryConfig, _run, table_of=_table))
