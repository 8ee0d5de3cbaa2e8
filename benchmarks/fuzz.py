"""Hostile and awkward inputs, seeded and bounded: `python -m benchmarks.fuzz [--seconds 600] [--seed 0]`.

Each target of `benchmarks.fuzzing` takes its share of the time. What it finds is printed, with the input, and
makes the exit code 1: an input on which the product hangs, a traceback, a wrong answer.
"""

import argparse
import json
import logging
import signal
import sys
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import structlog
from hypothesis import HealthCheck, Phase, given, seed, settings
from rich.console import Console

from benchmarks.fuzzing import bodies, rasters, sources, tokens
from benchmarks.fuzzing.target import Target, Wrong

TARGETS: tuple[Target, ...] = (tokens.TARGET, bodies.TARGET, sources.TARGET, rasters.TARGET)

_SECONDS = 600
_HANGS = 20  # seconds after which an input counts as one on which the product hangs
_EXAMPLES = 50  # of one seed: after each of them it is looked at the time
_SHOWN = 5  # findings of a target that are printed whole

_print = Console(stderr=True).print


class Hung(BaseException):
    """An input took too long. No handler of the product's may catch it."""


def main() -> int:
    """Run all targets, print what they find, and the counts as the last line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=_SECONDS, help="as a whole")
    parser.add_argument("--seed", type=int, default=0, help="another seed, other inputs")
    arguments = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    warnings.simplefilter("ignore")  # of rasterio and GDAL, about the inputs
    signal.signal(signal.SIGALRM, _hung)
    found: Counter[str] = Counter(inputs=0, hangs=0, tracebacks=0, wrong=0)
    for target in TARGETS:
        found += run(target, arguments.seconds / len(TARGETS), arguments.seed)
    counts = {name: found[name] for name in ("inputs", "hangs", "tracebacks", "wrong")}
    print(json.dumps({"fuzz": counts}))
    return 1 if sum(counts.values()) > counts["inputs"] else 0


def run(target: Target, seconds: float, first_seed: int) -> Counter[str]:
    """Try inputs of a target for some seconds; return how many there were, and what was found."""
    found: Counter[str] = Counter()
    number = first_seed
    with target.prepared() as attempt:
        until = time.monotonic() + seconds

        def one(value: object) -> None:
            if time.monotonic() > until:
                return
            found["inputs"] += 1
            with _told(found, target.name, value):
                attempt(value)

        while time.monotonic() < until:
            quiet = settings(
                max_examples=_EXAMPLES,
                database=None,
                deadline=None,
                phases=[Phase.generate],
                suppress_health_check=list(HealthCheck),
            )
            seed(number)(quiet(given(target.inputs)(one)))()
            number += 1
    _print(f"{target.name}: {found['inputs']} inputs, seeds {first_seed} to {number - 1}")
    return found


@contextmanager
def _told(found: Counter[str], target: str, value: object) -> Iterator[None]:
    """Count and print what is wrong with one input."""
    signal.alarm(_HANGS)
    try:
        yield
    except Hung:
        kind, what = "hangs", f"after {_HANGS} seconds"
    except Wrong as wrong:
        kind, what = "wrong", str(wrong)
    except Exception:  # noqa: BLE001 - what the target lets through is a fault
        kind, what = "tracebacks", traceback.format_exc(limit=-3)
    else:
        return
    finally:
        signal.alarm(0)
    found[kind] += 1
    if found[kind] <= _SHOWN:
        _print(f"{target}, {kind}: {value!r:.600}\n{what}", markup=False)


def _hung(_: int, __: FrameType | None) -> None:
    raise Hung


if __name__ == "__main__":
    sys.exit(main())
