"""How good the codes of validation chips are, in one score.

Shapes: V validation chips, C classes, D features, Y bytes a code.
"""

from dataclasses import asdict, dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from model.codes import Codes, part_bytes
from model.metrics import code_health
from model.network import HashNetwork
from model.order import code_lists, cosine_lists, order_figures
from model.parallel import global_batch
from model.retrieval import LabelledCodes, retrieve
from model.spec import CodePart, CodeSpec
from model.training import ALONE, WorkerSlice
from pipelines.train.inputs import ChipRows, FeatureRows

SCORE = "val_score"
"""What early stopping and promotion compare: the mean of `TRAINED` and `UNSEEN`; of `TRAINED` and `ORDER` if
there is no `UNSEEN`; `TRAINED` alone if there is neither."""
TRAINED = "val_map_at_20"
"""mAP@20 among the validation chips of classes that have training chips."""
UNSEEN = "val_unseen_map_at_20"
"""mAP@20 among the validation chips of the other classes."""
ORDER = "val_in_class_recall_at_10"
"""Of the ten nearest chips of a chip's own class by its features, the share among the ten nearest by code."""

_ORDER_CHIPS = 2000  # at most, for `ORDER`, which compares the features of all pairs
_EXTRACTED_AT_ONCE = 64  # chips that go through the backbone at a time, about


@dataclass(frozen=True)
class LabelledSplit:
    """The N chips of a split with their labels."""

    rows: FeatureRows | ChipRows
    """Their features, or their pixels."""
    labels_NC: NDArray[np.bool_]
    """Multi-hot. The classes that have training chips come first."""
    trained_classes: int
    """How many classes have training chips."""


def validate(
    network: HashNetwork, split: LabelledSplit, worker: WorkerSlice = ALONE, *, kind_only: bool = False
) -> dict[str, float]:
    """Return the figures of the chips' codes, and the health of the codes; empty for fewer than two chips.

    Each chip is the query in turn and left out of its list; ties are averaged. ``kind_only`` leaves the look
    bits out, as they are fitted after the epochs. If the split has pixels, each worker runs its slice through
    the backbone, and all get the features of all chips.
    """
    if len(split.labels_NC) < 2:
        return {}
    network.eval()
    if isinstance(split.rows, FeatureRows):
        features_VD = split.rows.features_NVD[:, 0]
    else:
        features_VD = _extract(network, split.rows, len(split.labels_NC), worker)
    codes_VY, code = network.encode_features(features_VD), network.network_spec.code
    if kind_only:
        codes_VY = np.ascontiguousarray(codes_VY[:, part_bytes(code)["kind"]])
        code = CodeSpec((CodePart("kind", network.network_spec.kind_bits),))
    trained_V = split.labels_NC[:, : split.trained_classes].any(axis=1)
    unseen_V = split.labels_NC.any(axis=1) & ~trained_V
    measured = {
        TRAINED: _map_at_20(codes_VY[trained_V], split.labels_NC[trained_V], code),
        UNSEEN: _map_at_20(codes_VY[unseen_V], split.labels_NC[unseen_V], code),
        ORDER: _order(features_VD, codes_VY, split.labels_NC, code),
    }
    figures = {name: value for name, value in measured.items() if value is not None}
    return (
        _score(figures)
        | figures
        | {f"val_{name}": value for name, value in asdict(code_health(codes_VY)).items()}
    )


def _score(figures: dict[str, float]) -> dict[str, float]:
    """Return `SCORE`; nothing if there is no figure of trained classes."""
    if TRAINED not in figures:
        return {}
    others = [figures[name] for name in (UNSEEN, ORDER) if name in figures][:1]
    return {SCORE: float(np.mean([figures[TRAINED], *others]))}


def _map_at_20(codes_VY: Codes, labels_VC: NDArray[np.bool_], code: CodeSpec) -> float | None:
    """Return mAP@20 of each chip among the others; None if no two chips share a class."""
    labels = labels_VC if (labels_VC.sum(axis=1) > 1).any() else labels_VC.argmax(axis=1)
    try:
        found = retrieve(LabelledCodes(codes_VY, labels), code=code)
    except ValueError:
        return None
    return found.ranking.map_at_k[20]


def _order(
    features_VD: NDArray[np.float32], codes_VY: Codes, labels_VC: NDArray[np.bool_], code: CodeSpec
) -> float | None:
    """Return `ORDER`; None if no chip has more than ten others of its class."""
    step = -(-len(codes_VY) // _ORDER_CHIPS)
    features_VD, codes_VY, labels_VC = features_VD[::step], codes_VY[::step], labels_VC[::step]
    cosine, lists = cosine_lists(features_VD, features_VD), code_lists(codes_VY, codes_VY, code)
    return order_figures(cosine, labels_VC, [lists])[0].in_class_recall10


def _extract(network: HashNetwork, rows: ChipRows, count: int, worker: WorkerSlice) -> NDArray[np.float32]:
    """Return features_VD of all chips; each worker computes a slice of them."""
    # the first chips once more at the end, so that all slices have the same length
    padded_V = np.arange(-(-count // worker.workers) * worker.workers) % count
    batches = np.array_split(
        worker.of(padded_V), max(1, len(padded_V) // worker.workers // _EXTRACTED_AT_ONCE)
    )
    features_BD = np.concatenate([network.extract(rows.chips(rows_B)) for rows_B in batches])
    device = next(network.parameters()).device
    gathered = global_batch(torch.from_numpy(features_BD).to(device))
    return np.asarray(gathered.cpu().numpy()[:count])
