"""How long one exact search takes, beside reading the same bytes once: `python -m benchmarks.search`."""

import json
import time
from collections.abc import Callable

import numpy as np

from pipelines.index.codes import CodeIndex

CODES, BITS, REPEATS = 1_000_000, 64, 20


def median_ms(work: Callable[[], object]) -> float:
    """Return the median time of `REPEATS` runs, after one to warm up."""
    work()
    times = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        work()
        times.append((time.perf_counter() - started) * 1000)
    return float(np.median(times))


def main() -> None:
    """Time a search over uniform random codes, and a plain sum over the same memory."""
    rng = np.random.default_rng(0)
    codes_NY = rng.integers(0, 256, (CODES, BITS // 8), dtype=np.uint8)
    index = CodeIndex(codes_NY)
    words_N = codes_NY.view(np.uint64).ravel()
    search = median_ms(lambda: index.search(codes_NY[0], k=10, max_distance=None))
    read = median_ms(lambda: words_N.sum())
    print(f"{CODES:,} codes of {BITS} bits, 10 nearest: {search:.1f} ms; reading them once: {read:.1f} ms")
    print(json.dumps({"search": {"codes": CODES, "bits": BITS, "vs_memory_read": round(search / read, 1)}}))


if __name__ == "__main__":
    main()
