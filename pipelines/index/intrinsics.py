"""Two instructions of the processor that numba has no name for, by LLVM's."""

from collections.abc import Callable
from typing import Any, cast

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from numpy.typing import NDArray


def _popcount(typing_context: object, word: object) -> Any:  # noqa: ARG001

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        counter = builder.module.declare_intrinsic("llvm.ctpop", [ir.IntType(64)])
        return builder.call(counter, arguments)

    return types.int64(types.uint64), generate


def _prefetch(typing_context: object, array: Any, position: object) -> Any:  # noqa: ARG001

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        view = context.make_array(signature.args[0])(context, builder, arguments[0])
        pointer = builder.bitcast(builder.gep(view.data, [arguments[1]]), ir.IntType(8).as_pointer())
        number = ir.IntType(32)
        function = builder.module.declare_intrinsic(
            "llvm.prefetch",
            [pointer.type],
            ir.FunctionType(ir.VoidType(), [pointer.type, number, number, number]),
        )
        builder.call(function, [pointer, number(0), number(3), number(1)])  # to read; keep; data
        return context.get_dummy_value()

    return types.void(array, types.int64), generate


popcount = cast(Callable[[Any], int], intrinsic(_popcount))
"""word -> how many bits of an uint64 are set."""
prefetch = cast(Callable[[NDArray[np.uint64], int], None], intrinsic(_prefetch))
"""array, position -> nothing: ask for an element to be brought to the cache, without waiting for it."""
