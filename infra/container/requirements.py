"""Print a project's dependencies, one a line: what to install before its code is there."""

import sys
import tomllib
from pathlib import Path

for dependency in tomllib.loads(Path(sys.argv[1]).read_text())["project"]["dependencies"]:
    print(dependency)  # noqa: T201
