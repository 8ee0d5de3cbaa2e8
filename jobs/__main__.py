"""Any job by its name: `scenehash NAME ...`, `python -m jobs NAME ...`. The container's entry point."""

import os
import sys
from collections.abc import Sequence

JOBS = ("demo", "evaluate", "maintain", "nightly", "publish", "query", "serve", "submit", "train", "watch")


def main(arguments: Sequence[str], program: str = "python -m jobs", flags: Sequence[str] = ()) -> int:
    """Become the job that the first argument names; return 2 if it names none.

    ``program`` is what the usage calls this command, ``flags`` are the interpreter's for the job.
    """
    name = arguments[0] if arguments else ""
    if name in JOBS:
        # the same process: signals and the exit code are the job's own
        command = [sys.executable, *flags, "-m", f"jobs.{name}", *arguments[1:]]
        os.execv(sys.executable, command)  # noqa: S606
    usage = f"usage: {program} {{{','.join(JOBS)}}} ...; each explains itself with --help"
    print(usage, file=sys.stdout if name in ("-h", "--help") else sys.stderr)
    return 0 if name in ("-h", "--help") else 2


def console() -> int:
    """Run the console script `scenehash`.

    The job is looked for where this file is installed (-P), not in the current folder, which may have
    a package `model` or `jobs` of its own.
    """
    return main(sys.argv[1:], "scenehash", ["-P"])


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
