"""What numba has no name for, by LLVM's: two instructions of the processor, and a loop over its vectors."""

from collections.abc import Callable
from typing import Any, cast

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray

_function: Callable[..., Any] = cgutils.get_or_insert_function
_variable: Callable[..., Any] = cgutils.alloca_once_value


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


LANES, SHARED = 8, 4
"""Words in a vector of 512 bits, of which LLVM makes several where the processor's are shorter; and queries
that share what is read."""
_FOUR = cast(Callable[..., Any], types.UniTuple)(types.int64, SHARED)
_WORDS, _BYTES = ir.VectorType(ir.IntType(64), LANES), ir.VectorType(ir.IntType(8), 8 * LANES)


def _least_bits(_context: object, words: Any, one: object, two: object, three: object, four: object) -> Any:  # noqa: ARG001
    if words.layout != "C":  # else what lies between its words would be compared too
        return None

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        view = context.make_array(signature.args[0])(context, builder, arguments[0])
        count = builder.extract_value(view.shape, 0)
        count = builder.and_(count, ir.Constant(count.type, -LANES))

        def call(name: str, kind: ir.Type, *values: Any) -> Any:
            type_ = ir.FunctionType(kind, [value.type for value in values])
            return builder.call(_function(builder.module, type_, name), values)

        splats = []
        for query in arguments[1:]:
            splat = ir.Constant(_WORDS, ir.Undefined)
            for lane in range(LANES):
                splat = builder.insert_element(splat, query, ir.Constant(ir.IntType(32), lane))
            splats.append(splat)
        least = [_variable(builder, ir.Constant(_BYTES, [255] * 8 * LANES)) for _ in splats]
        zero, step = ir.Constant(count.type, 0), ir.Constant(count.type, LANES)
        with cgutils.for_range_slice(builder, zero, count, step, intp=count.type) as (index, _):
            pointer = builder.bitcast(builder.gep(view.data, [index]), _WORDS.as_pointer())
            some = builder.load(pointer)
            some.align = 8
            for splat, best in zip(splats, least, strict=True):
                bits = call("llvm.ctpop.v8i64", _WORDS, builder.xor(some, splat))
                # as bytes: their least takes one step where that of words takes two, or has no instruction
                less = call("llvm.umin.v64i8", _BYTES, builder.load(best), builder.bitcast(bits, _BYTES))
                builder.store(less, best)
        others = ir.Constant(_BYTES, ([0] + [255] * 7) * LANES)  # the bytes that hold no count
        found = [builder.or_(builder.load(best), others) for best in least]
        bytes_ = [call("llvm.vector.reduce.umin.v64i8", ir.IntType(8), each) for each in found]
        integers = [builder.zext(byte, ir.IntType(64)) for byte in bytes_]
        return context.make_tuple(builder, signature.return_type, integers)

    return _FOUR(words, *[types.uint64] * SHARED), generate


popcount = cast(Callable[[Any], int], intrinsic(_popcount))
"""word -> how many bits of an uint64 are set."""
prefetch = cast(Callable[[NDArray[np.uint64], int], None], intrinsic(_prefetch))
"""array, position -> nothing: ask for an element to be brought to the cache, without waiting for it."""
least_bits = cast(Callable[..., tuple[int, int, int, int]], intrinsic(_least_bits))
"""words, four queries -> of each the least popcount(word ^ query), 255 where there is none; words at the end
that fill no vector, fewer than `LANES`, are left out."""
