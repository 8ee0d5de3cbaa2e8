"""Links between the documents: each leads to a file that is there, and to a heading that is in it."""

import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
PAGES = sorted(
    page
    for folder in ("", "docs/", "docs/*/", "infra/", "benchmarks/", "benchmarks/*/", ".github/", ".github/*/")
    for page in REPOSITORY.glob(f"{folder}*.md")
)
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
MOST_PICTURE_BYTES = 300_000


def prose(page: Path) -> str:
    """Return a page without its blocks of code."""
    return re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)


def anchors(page: Path) -> set[str]:
    """Return the anchors that GitHub gives to a page's headings."""
    found: dict[str, int] = {}
    names = set()
    for heading in re.findall(r"^#{1,6} +(.+?) *$", prose(page), re.MULTILINE):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        name = re.sub(r"[^\w\- ]", "", plain.lower()).replace(" ", "-")
        names.add(name if name not in found else f"{name}-{found[name]}")
        found[name] = found.get(name, 0) + 1
    return names


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_links_lead_somewhere(page):
    broken = []
    for target in LINK.findall(prose(page)):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        known = file.exists() and (not anchor or anchor in anchors(file))
        if not known or not file.is_relative_to(REPOSITORY):
            broken.append(target)
    assert not broken


def test_every_document_is_linked_from_the_readme_or_from_a_page_that_it_links_to():
    reached, waiting = set(), [REPOSITORY / "README.md"]
    while waiting:
        page = waiting.pop()
        if page in reached:
            continue
        reached.add(page)
        for target in LINK.findall(prose(page)):
            file = (page.parent / target.partition("#")[0]).resolve()
            if file.suffix == ".md" and file.is_file():
                waiting.append(file)
    assert set((REPOSITORY / "docs").rglob("*.md")) <= reached


def test_pictures_are_small():
    pictures = [*(REPOSITORY / "docs/images").iterdir()]
    assert pictures
    assert [picture.name for picture in pictures if picture.stat().st_size > MOST_PICTURE_BYTES] == []


def test_the_readme_is_short():
    assert len((REPOSITORY / "README.md").read_text().split()) <= 700
