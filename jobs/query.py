"""`python -m jobs.query`: search by example from the command line."""

from jobs.config import run_job
from pipelines.api.answers import SearchAnswer
from pipelines.query import QueryConfig, print_answer, run_query


def _run(config: QueryConfig) -> SearchAnswer | None:
    answer = run_query(config)
    if config.geojson:
        return answer
    from rich.console import Console

    print_answer(answer, Console())
    return None


if __name__ == "__main__":
    raise SystemExit(run_job("query", QueryConfig, _run))
