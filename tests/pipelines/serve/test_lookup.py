"""Heavy lookups: one at a time, a few that wait, and none twice for the same snapshot."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from pipelines.api.explore import ChangesRequest, GridRequest
from pipelines.api.requests import SearchRequest
from pipelines.serve.changes_part import ChangesLookup
from pipelines.serve.grid_part import GridQuestion
from pipelines.serve.lookup import MOST_WAITING, HeavyLookups
from pipelines.serve.question import Question
from pipelines.serve.refusals import QUEUE_FULL


@dataclass
class Slow:
    """A lookup that ends when the test lets it."""

    key: str
    released: threading.Event = field(default_factory=threading.Event)
    answered: list[int] = field(default_factory=list)
    is_heavy = True
    running = 0
    most = 0

    def answer(self, snapshot: Any, *, is_whole: bool) -> str:
        Slow.running += 1
        Slow.most = max(Slow.most, Slow.running)
        self.released.wait(20)
        self.answered.append(snapshot.published.table_version)
        Slow.running -= 1
        return f"{self.key} of {snapshot.published.table_version}"


def snapshot(version: int) -> Any:
    return SimpleNamespace(published=SimpleNamespace(table_id="t", table_version=version, model_id="m"))


def test_one_at_a_time_and_so_many_wait() -> None:
    heavy, first = HeavyLookups(), Slow("first")
    others = [Slow(f"{number}") for number in range(MOST_WAITING)]
    for other in others:
        other.released.set()
    with ThreadPoolExecutor(MOST_WAITING + 1) as pool:
        begun = [pool.submit(heavy.answer, each, snapshot(1), is_whole=True) for each in (first, *others)]
        deadline = time.monotonic() + 20
        while heavy.waiting <= MOST_WAITING:
            assert time.monotonic() < deadline
        assert heavy.answer(Slow("one more"), snapshot(1), is_whole=True) == QUEUE_FULL
        assert not any(each.done() for each in begun)
        first.released.set()
        assert [each.result(20) for each in begun] == [
            "first of 1",
            *(f"{n} of 1" for n in range(MOST_WAITING)),
        ]
    assert Slow.most == 1


@dataclass
class Keyless:
    """A lookup whose answer isn't worth its memory."""

    text: str
    key = ""
    is_heavy = True

    def answer(self, snapshot: Any, *, is_whole: bool) -> str:
        return self.text


def test_an_answer_without_a_key_is_not_kept() -> None:
    heavy = HeavyLookups()
    for text in ("first", "second"):
        assert heavy.answer(Keyless(text), snapshot(1), is_whole=True) == text
    assert not heavy._kept


def test_a_refusal_is_not_kept() -> None:
    heavy, refused, answered = HeavyLookups(), Slow("grid"), Slow("grid")
    answered.released.set()
    refused.answer = lambda snapshot, is_whole: QUEUE_FULL  # type: ignore[method-assign, assignment]
    assert heavy.answer(refused, snapshot(1), is_whole=True) == QUEUE_FULL
    assert heavy.answer(answered, snapshot(1), is_whole=True) == "grid of 1"


def test_other_models_are_other_questions() -> None:
    asked = [GridRequest(code="00ff", model_id=name) for name in (None, "a@0", "b@0")]
    assert len({GridQuestion(each, Question(SearchRequest(code="00ff"))).key for each in asked}) == 3
    assert len({ChangesLookup(ChangesRequest(model_id=name)).key for name in (None, "a@0")}) == 2


def test_whatever_a_grid_depends_on_is_in_its_key() -> None:
    ways: list[dict[str, object]] = [
        {},
        {"code": "00fe"},
        {"view": (0, 0, 1, 1)},
        {"width": 8},
        {"height": 8},
        {"max_distance": 3},
        {"bbox": (0, 0, 1, 1)},
        {"datetime": "2025/2026"},
        {"collections": ("a",)},
        {"min_valid_fraction": 0.5},
        {"compare": "look"},
        {"kind_weight": 2},
        {"bit_weights": "8" * 16},
        {"code": None, "chip_ids": ("a",)},
        {"code": None, "chip_ids": ("a",), "exclude_self": False},
        {"code": None, "chip_ids": ("a",), "negative_ids": ("b",)},
        {"code": None, "chip_ids": ("b",), "negative_ids": ("a",)},
    ]
    question = Question(SearchRequest(code="00ff"))
    asked = [GridRequest.model_validate({"code": "00ff"} | way) for way in ways]
    assert len({GridQuestion(each, question).key for each in asked}) == len(ways)
    pairs: list[dict[str, object]] = [
        {},
        {"before": "2024"},
        {"after": "2024"},
        {"k": 3},
        {"min_distance": 3},
        {"compare": "look"},
        {"kind_weight": 2},
        {"bbox": (0, 0, 1, 1)},
        {"collections": ("a",)},
    ]
    keys = {ChangesLookup(ChangesRequest.model_validate(each)).key for each in pairs}
    assert len(keys) == len(pairs)


def test_a_part_is_kept_for_its_snapshot() -> None:
    heavy, lookup = HeavyLookups(), Slow("grid")
    lookup.released.set()
    for version in (1, 1, 2, 1):
        assert heavy.answer(lookup, snapshot(version), is_whole=True) == f"grid of {version}"
    assert lookup.answered == [1, 2]
    for number in range(40):
        other = Slow(f"{number}")
        other.released.set()
        heavy.answer(other, snapshot(1), is_whole=True)
    heavy.answer(lookup, snapshot(2), is_whole=True)
    assert lookup.answered == [1, 2, 2]
