"""What the page's benchmark takes for too much: it must not pass where a figure is over its budget."""

import re

import pytest

pytest.importorskip("playwright.sync_api", reason="SKIPPED: no playwright; `make setup` installs it")

from benchmarks import page


def test_each_figure_has_a_budget() -> None:
    printed = re.search(r"`\{\"page\": \{(.*?)\}\}`", str(page.__doc__), re.DOTALL)
    assert printed is not None
    figures = re.findall(r"\"(\w+)\"", printed[1])
    figures.remove("drag_ms")  # beside `cutoff_ms`, whose budget is a step's
    assert figures == list(page.BUDGETS)


@pytest.mark.parametrize("name", page.BUDGETS)
def test_a_figure_over_its_budget_is_named(name: str) -> None:
    figures: page.Figures = dict(page.BUDGETS)
    assert page.over_budget(figures) == [], "the budget itself may be reached"
    [line] = page.over_budget(figures | {name: page.BUDGETS[name] + 0.01})
    assert line == f"{name}: {page.BUDGETS[name] + 0.01:g}, its budget is {page.BUDGETS[name]:g}"


def test_what_was_not_measured_is_not_over_its_budget() -> None:
    assert page.over_budget({"pictures_s": None, "usable_s": 9}) == ["usable_s: 9, its budget is 1.5"]
