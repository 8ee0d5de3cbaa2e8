"""Runs the soak: `python -m benchmarks.soak`; it takes root's rights, for machines and a disk of its own."""

import argparse
import json
from pathlib import Path

from benchmarks.soak.ledger import Ledger
from benchmarks.soak.run import run_soak


def main() -> int:
    """Run, and print the figures as the last line; return 1 if there was any harm."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=20.0, help="how long things die")
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("benchmark-output/soak.jsonl"),
        help="file for what happens and for the details of each harm, a line of JSON each",
    )
    arguments = parser.parse_args()
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.unlink(missing_ok=True)
    ledger = Ledger(arguments.output.absolute())
    figures = run_soak(arguments.minutes, ledger)
    print(json.dumps({"soak": figures}), flush=True)
    return 0 if ledger.is_clean() else 1


if __name__ == "__main__":
    raise SystemExit(main())
