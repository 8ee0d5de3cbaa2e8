"""The canary set: labelled chips whose nearest chips must have the right labels in every good version.

Shapes: N canaries that are found, Y bytes a code.
"""

import io
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from model.metrics import precision_at_k
from model.retrieval import LabelledCodes
from model.spec import CodeSpec
from pipelines.errors import ConfigError
from pipelines.gate.config import GateConfig
from pipelines.storage.store import Store


@dataclass(frozen=True)
class Canary:
    """The canary set: labels of chips, and the codes of those that were found so far."""

    label_of: dict[str, str]
    """Labels by chip id."""
    codes: dict[str, bytes] = field(default_factory=dict)

    def add(self, chip_ids: pa.Array, codes: pa.Array) -> None:
        """Keep the codes of those chips that are in the set."""
        chosen = pc.is_in(chip_ids, pa.array(self.label_of, pa.string()))
        found = zip(chip_ids.filter(chosen).to_pylist(), codes.filter(chosen).to_pylist(), strict=True)
        self.codes.update(found)

    def precision(self, k: int, code: CodeSpec) -> float:
        """Return precision@k of the codes found, leave-one-out among them, 0..1; 0 if there are k or fewer.

        Ties are averaged; all parts of the codes are compared, with their weights.
        """
        if len(self.codes) <= k:
            return 0.0
        codes_NY = np.stack([np.frombuffer(code, np.uint8) for code in self.codes.values()])
        labels_N = np.unique([self.label_of[chip] for chip in self.codes], return_inverse=True)[1]
        labelled = LabelledCodes(codes_NY, labels_N)
        return precision_at_k(labelled, labelled, k, np.arange(len(codes_NY)), code)


def read_canary(config: GateConfig, store: Store) -> Canary | None:
    """Return the gate's canary set, None if the config names none. Raises ConfigError if it can't be read."""
    uri = config.canary
    if uri is None:
        return None
    try:
        content = io.BytesIO(store.read(uri))
        rows = pyarrow.csv.read_csv(content) if uri.lower().endswith(".csv") else pq.read_table(content)
        labels = rows["label"].cast(pa.string()).to_pylist()
        label_of = dict(zip(rows["chip_id"].cast(pa.string()).to_pylist(), labels, strict=True))
    except FileNotFoundError as error:
        raise ConfigError(f"gate.canary: {uri} doesn't exist; check the name") from error
    except (pa.ArrowException, KeyError, ValueError, TypeError) as error:
        raise ConfigError(
            f"gate.canary: {uri} must be Parquet or CSV with the columns chip_id, label: {error}"
        ) from error
    if len(label_of) <= config.canary_k:
        raise ConfigError(
            f"gate.canary: {uri} names {len(label_of)} chips; canary_k needs {config.canary_k + 1} at least"
        )
    return Canary(label_of)
