"""Build hook of the wheel: the page of `web/` must be built, and of the sources as they are.

A wheel without the page, or with an old one, is an error here and not a surprise for its users.
"""

import hashlib
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

BUILT = Path("pipelines/serve/built_page")
# what is made of other sources, and what the page isn't built of; the same as in web/vite.config.js
NOT_SOURCES = {"node_modules", "schema.d.ts", "land_coarse.json", "land_fine.json", "borders.json"}


class PageHook(BuildHookInterface[Any]):
    """Stops a build that would leave the page out."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002 - hatchling's signature
        """Raise RuntimeError if the page is missing or old; an editable install is made before the page."""
        if version != "editable":
            check_page(Path(self.root))


def check_page(root: Path) -> None:
    """Raise RuntimeError unless the page below ``root`` is built of the sources there."""
    for name in ("index.html", "sources.sha256"):  # the build writes the second at last
        if not (root / BUILT / name).is_file():
            raise RuntimeError(f"the page isn't built: {root / BUILT / name} is missing; run `make page`")
    sources, built_of = root / "web", root / BUILT / "sources.sha256"
    # an image is built of the packages alone, without web/
    if sources.is_dir() and built_of.read_text().strip() != hash_of_sources(sources):
        raise RuntimeError(f"the page is older than its sources in {sources}; run `make page`")


def hash_of_sources(folder: Path) -> str:
    """Return the SHA-256 of all sources and their paths, in hex digits, as web/vite.config.js does."""
    digest = hashlib.sha256()
    for path in sorted(_files(folder, folder), key=lambda path: path.encode("utf-16-be")):
        content = hashlib.sha256((folder / path).read_bytes()).hexdigest()
        digest.update(f"{path}\0{content}\n".encode())
    return digest.hexdigest()


def _files(root: Path, folder: Path) -> list[str]:
    found = []
    for path in folder.iterdir():
        if path.name in NOT_SOURCES or path.name.startswith("."):
            continue
        found += _files(root, path) if path.is_dir() else [path.relative_to(root).as_posix()]
    return found
