"""`python -m jobs NAME ...`: any job by its name. The container's entry point."""

import os
import sys
from collections.abc import Sequence

JOBS = ("demo", "evaluate", "maintain", "nightly", "publish", "query", "serve", "submit", "train", "watch")


def main(arguments: Sequence[str]) -> int:
    """Become the job that the first argument names; return 2 where it names none."""
    name = arguments[0] if arguments else ""
    if name in JOBS:
        # the same process: signals and the exit code are the job's own
        os.execv(sys.executable, [sys.executable, "-m", f"jobs.{name}", *arguments[1:]])  # noqa: S606
    usage = f"usage: python -m jobs {{{','.join(JOBS)}}} ...; each explains itself with --help"
    print(usage, file=sys.stdout if name in ("-h", "--help") else sys.stderr)
    return 0 if name in ("-h", "--help") else 2


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
