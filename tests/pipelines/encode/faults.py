"""What goes wrong in a night, and at which moment: the n-th operation that changes a store."""

import functools
import resource
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import pytest
from deltalake import DeltaTable
from deltalake.exceptions import CommitFailedError

import pipelines.table.code_table
from pipelines.errors import ConflictError
from pipelines.storage.store import Store

Operation = Callable[[], Any]
Fault = Callable[[str, Operation], Any]
"""Is given an operation's name, and the operation to carry out or not."""

_OPERATIONS = (
    (Store, "write"),
    (Store, "write_if_match"),
    (DeltaTable, "create"),
    (DeltaTable, "create_write_transaction"),
    (pipelines.table.code_table, "write_deltalake"),
)
_FILE_BYTES = 100  # of each file, while the disk is full


class Killed(BaseException):
    """The process ends here: no handler of the product's may catch it."""


class Operations:
    """Counts the operations that change a store, and lets a fault happen at one of them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        self._at, self._fault = 0, carry_out
        for owner, name in _OPERATIONS:
            self._watch(monkeypatch, owner, name)

    def _watch(self, monkeypatch: pytest.MonkeyPatch, owner: object, name: str) -> None:
        operation = getattr(owner, name)

        @functools.wraps(operation)
        def watched(*args: object, **options: object) -> object:
            self.count += 1
            fault = self._fault if self.count == self._at else carry_out
            return fault(name, functools.partial(operation, *args, **options))

        bound = getattr(operation, "__self__", None) is not None  # a class method
        monkeypatch.setattr(owner, name, staticmethod(watched) if bound else watched)

    def let(self, fault: Fault, at: int) -> None:
        """Let a fault happen at the operation that is number ``at`` from now on, from 1; 0: at none."""
        self.count, self._at, self._fault = 0, at, fault


def carry_out(name: str, operation: Operation) -> object:
    """No fault."""
    return operation()


def killed_before(name: str, operation: Operation) -> object:
    """The process is killed, and nothing was done."""
    raise Killed(name)


def killed_after(name: str, operation: Operation) -> object:
    """The process is killed once it is done."""
    operation()
    raise Killed(name)


def answer_lost(name: str, operation: Operation) -> object:
    """It is done, its answer is lost, and what is tried again finds the store changed: by itself."""
    done = operation()
    if name == "write_if_match":
        raise ConflictError("tried again, and somebody else had written: this very process")
    if name == "create_write_transaction":
        raise CommitFailedError("tried again, and somebody else had committed: this very process")
    return done


def disk_full(name: str, operation: Operation) -> object:
    """Files can't grow beyond some bytes meanwhile."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with ExitStack() as stack:
        stack.callback(resource.setrlimit, resource.RLIMIT_FSIZE, (soft, hard))
        resource.setrlimit(resource.RLIMIT_FSIZE, (_FILE_BYTES, hard))
        return operation()
