"""Turns `compare` and `kind_weight` of a request or a watch into weights of the parts."""

from functools import lru_cache

from model.spec import CodeSpec, Compare
from pipelines.api.requests import CONTRADICTION
from pipelines.errors import ComparisonError
from pipelines.hamming.comparison import Comparison


@lru_cache(64)
def comparison_of(code: CodeSpec, compare: Compare = "both", kind_weight: int | None = None) -> Comparison:
    """Return how codes are compared.

    ``both``: the distance is ``kind_weight`` times the differing bits of kind, plus those of look; by default
    the weights are the model's own. ``kind`` or ``look``: the distance is the differing bits of that part;
    codes at one distance are in the order of the other part. A ``kind_weight`` of 0 is the same as ``look``.
    Codes of one part are compared as a whole.

    Raises ComparisonError if the codes don't have the part, or ``kind_weight`` has no meaning.
    """
    _check(code, compare, kind_weight)
    if len(code.parts) == 1:
        return Comparison((1,), (0,))
    if compare == "kind":
        return Comparison((1, 0), (0, 1))
    if compare == "look" or kind_weight == 0:
        return Comparison((0, 1), (1, 0))
    kind, look = code.parts
    return Comparison((kind.weight if kind_weight is None else kind_weight, look.weight), (0, 0))


def _check(code: CodeSpec, compare: Compare, kind_weight: int | None) -> None:
    names = [part.name for part in code.parts]
    has = f"the model's codes have {' and '.join(names)} bits"
    if compare not in ("both", *names):
        raise ComparisonError(
            "no_such_part", f"compare: {has}, no {compare} bits", f"leave compare out, or give {names[0]}"
        )
    if kind_weight is not None and compare != "both":
        raise ComparisonError(
            CONTRADICTION,
            f"kind_weight weighs kind against look, but compare is {compare}",
            "leave kind_weight out, or compare both",
        )
    if kind_weight is not None and len(names) == 1:
        raise ComparisonError(
            CONTRADICTION,
            f"kind_weight weighs kind against look, but {has} only",
            "leave kind_weight out, or ask where codes of two parts are served",
        )
