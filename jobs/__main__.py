"""Any job by its name: `scenehash NAME ...`, `python -m jobs NAME ...`. The container's entry point."""

import runpy
import sys
from collections.abc import Sequence

JOBS = ("demo", "evaluate", "maintain", "nightly", "publish", "query", "serve", "submit", "train", "watch")


def main(arguments: Sequence[str], program: str = "python -m jobs") -> int:
    """Run the job that the first argument names, which ends this process; return 2 if it names none.

    ``program`` is what the usage calls this command.
    """
    name = arguments[0] if arguments else ""
    if name in JOBS:
        sys.argv[1:] = arguments[1:]
        runpy.run_module(f"jobs.{name}", run_name="__main__", alter_sys=True)
    usage = f"usage: {program} {{{','.join(JOBS)}}} ...; each explains itself with --help"
    print(usage, file=sys.stdout if name in ("-h", "--help") else sys.stderr)
    return 0 if name in ("-h", "--help") else 2


def console() -> int:
    """Run the console script `scenehash`."""
    return main(sys.argv[1:], "scenehash")


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
