"""The methods that are compared: the bundle's codes, each part of them alone, and the baselines.

Shapes: N chips, F features, Y bytes a code, C classes, Q queries.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import structlog
from numpy.typing import NDArray

from model.baselines import SignCodes, fit_itq, fit_pca, fit_sign, retrieve_by_cosine
from model.codes import Codes, part_bytes
from model.order import Lists, code_lists, cosine_lists
from model.retrieval import LabelledCodes, Labels, Retrieval, retrieve
from model.spec import CodeSpec, Compare
from pipelines.evaluate.figures import BUNDLE, COSINE

log = structlog.get_logger()


@dataclass(frozen=True)
class EncodedChips:
    """Chips with their features, codes and labels."""

    features_NF: NDArray[np.float32]
    codes_NY: Codes
    """The bundle's codes."""
    labels_N: Labels
    """Class ids, or multi-hot labels_NC; classes are in the order of the source's class names."""

    def select(self, chosen_N: NDArray[np.bool_]) -> "EncodedChips":
        """Return the chosen chips."""
        return EncodedChips(self.features_NF[chosen_N], self.codes_NY[chosen_N], self.labels_N[chosen_N])


@dataclass(frozen=True)
class Method:
    """A way to put chips in the order of their distance from a query."""

    name: str
    bits: int | None
    """Bits that are compared; None: floats."""
    codes_of: Callable[[EncodedChips], Codes] | None
    """Returns the codes_NY of chips; None: the features are compared by cosine similarity."""
    code: CodeSpec | None = None
    """The parts of the codes; None: each bit counts once."""
    compare: Compare = "both"
    """The parts that are compared."""

    def retrieve(
        self, queries: EncodedChips, database: EncodedChips, own_rows_Q: NDArray[np.integer] | None
    ) -> Retrieval:
        """Measure the lists by their labels. Raises ValueError if no query has a chip to find."""
        if self.codes_of is None:
            return retrieve_by_cosine(
                queries.features_NF, queries.labels_N, database.features_NF, database.labels_N, own_rows_Q
            )
        return retrieve(
            LabelledCodes(self.codes_of(queries), queries.labels_N),
            LabelledCodes(self.codes_of(database), database.labels_N),
            own_rows_Q,
            code=self.code,
            compare=self.compare,
        )

    def lists(self, queries: EncodedChips, database: EncodedChips) -> Lists:
        """Return the lists of the database's chips by distance from each query."""
        if self.codes_of is None:
            return cosine_lists(queries.features_NF, database.features_NF)
        return code_lists(self.codes_of(queries), self.codes_of(database), self.code, self.compare)


def make_methods(train_NF: NDArray[np.float32], code: CodeSpec, seed: int) -> list[Method]:
    """Return all methods: those of the bundle, then cosine similarity, then the baselines.

    A code of two parts gives three methods: both parts, and each alone. The baselines have as many bits as
    the code and are fitted on train_NF, the features of the chips that the network may have been trained on.
    """
    return [*bundle_methods(code), Method(COSINE, None, None), *_baselines(train_NF, code.bits, seed)]


def bundle_methods(code: CodeSpec) -> list[Method]:
    """Return the method that compares the whole code; for two parts, also one for each part alone."""
    whole = Method(BUNDLE, code.bits, own_codes, code)
    if len(code.parts) == 1:
        return [whole]
    return [
        whole,
        *(
            Method(f"{BUNDLE}, {part.name} alone", part.bits, own_codes, code, part.name)
            for part in code.parts
        ),
    ]


def own_codes(chips: EncodedChips) -> Codes:
    """Return the codes of the bundle."""
    return chips.codes_NY


def distinct_ratio(method: Method, chips: EncodedChips) -> float | None:
    """Return distinct codes over codes, by the parts that are compared, 0..1; None: floats."""
    if method.codes_of is None:
        return None
    codes_NY = method.codes_of(chips)
    if method.code and method.compare != "both":
        codes_NY = codes_NY[:, part_bytes(method.code)[method.compare]]
    return len(np.unique(codes_NY, axis=0)) / len(codes_NY)


def _baselines(train_NF: NDArray[np.float32], bits: int, seed: int) -> list[Method]:
    fitted = {"sign of all features": fit_sign(train_NF)}
    if bits > train_NF.shape[1]:
        log.warning(
            "no PCA and no ITQ: they need as many features as bits", features=train_NF.shape[1], bits=bits
        )
    else:
        fitted |= {"PCA + sign": fit_pca(train_NF, bits), "ITQ": fit_itq(train_NF, bits, seed)}
    return [Method(name, codes.num_bits, _encoder(codes)) for name, codes in fitted.items()]


def _encoder(codes: SignCodes) -> Callable[[EncodedChips], Codes]:
    return lambda chips: codes.encode(chips.features_NF)
