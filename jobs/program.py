"""What this program is called: as the user has called it."""

import sys
from pathlib import Path


def called(job: str) -> str:
    """Return the command that runs a job, such as ``python -m jobs.nightly`` or ``scenehash nightly``."""
    script = Path(sys.orig_argv[1]).name if len(sys.orig_argv) > 1 else ""
    return f"scenehash {job}" if script == "scenehash" else f"python -m jobs.{job}"
