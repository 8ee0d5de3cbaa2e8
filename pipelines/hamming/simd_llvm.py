"""The operations of `simd` in LLVM's terms: two instructions of the processor, and loops over its vectors.

Each private function here is what `numba.extending.intrinsic` takes: given the types of the arguments, it
returns the signature and a function that writes LLVM code for the call.

Source: LLVM Language Reference, llvm.ctpop, llvm.prefetch, llvm.umin, llvm.vector.reduce.umin
(https://llvm.org/docs/LangRef.html).
"""

from collections.abc import Callable
from typing import Any, cast

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from pipelines.hamming.jit import Words
from pipelines.hamming.simd_plain import LANES

_function: Callable[..., Any] = cgutils.get_or_insert_function
_variable: Callable[..., Any] = cgutils.alloca_once_value
_members: Callable[..., Any] = cgutils.unpack_tuple


def _popcount(typing_context: object, word: object) -> Any:  # noqa: ARG001

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        # for the loops of this kernel: LLVM takes 256 bits on some processors, for the sake of their clock.
        # `set.add`, as llvmlite's own `add` takes only the attributes that it knows
        set.add(builder.function.attributes, '"prefer-vector-width"="512"')
        counter = builder.module.declare_intrinsic("llvm.ctpop", [ir.IntType(64)])
        return builder.call(counter, arguments)

    return types.int64(types.uint64), generate


def _prefetch_element(builder: Any, element: Any) -> None:
    """Write the instruction that brings an element to the cache."""
    pointer, number = builder.bitcast(element, ir.IntType(8).as_pointer()), ir.IntType(32)
    type_ = ir.FunctionType(ir.VoidType(), [pointer.type, number, number, number])
    function = builder.module.declare_intrinsic("llvm.prefetch", [pointer.type], type_)
    builder.call(function, [pointer, number(0), number(3), number(1)])  # to read; keep; data


def _prefetch(typing_context: object, array: Any, position: object) -> Any:  # noqa: ARG001

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        view = context.make_array(signature.args[0])(context, builder, arguments[0])
        _prefetch_element(builder, builder.gep(view.data, [arguments[1]]))
        return context.get_dummy_value()

    return types.void(array, types.int64), generate


_tuple_of = cast(Callable[..., Any], types.UniTuple)
_WORDS, _BYTES = ir.VectorType(ir.IntType(64), LANES), ir.VectorType(ir.IntType(8), 8 * LANES)
_TOGETHER = ir.VectorType(ir.IntType(64), 64)


def _call(builder: Any, name: str, kind: ir.Type, *values: Any) -> Any:
    """Write the call of an LLVM function by its name."""
    type_ = ir.FunctionType(kind, [value.type for value in values])
    return builder.call(_function(builder.module, type_, name), values)


def _splat(builder: Any, value: Any, type_: ir.VectorType) -> Any:
    """Write a vector that has one value in each lane."""
    first = builder.insert_element(ir.Constant(type_, ir.Undefined), value, ir.Constant(ir.IntType(32), 0))
    places = ir.Constant(ir.VectorType(ir.IntType(32), type_.count), [0] * type_.count)
    return builder.shuffle_vector(first, ir.Constant(type_, ir.Undefined), places)


def _least_bits(_context: object, words: Any, queries: Any, ahead: object) -> Any:  # noqa: ARG001
    if words.layout != "C":  # the words must lie side by side
        return None

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        view = context.make_array(signature.args[0])(context, builder, arguments[0])
        count = builder.extract_value(view.shape, 0)
        count = builder.and_(count, ir.Constant(count.type, -LANES))
        splats = [_splat(builder, query, _WORDS) for query in _members(builder, arguments[1])]
        least = [_variable(builder, ir.Constant(_BYTES, [255] * 8 * LANES)) for _ in splats]
        zero, step = ir.Constant(count.type, 0), ir.Constant(count.type, LANES)
        with cgutils.for_range_slice(builder, zero, count, step, intp=count.type) as (index, _):
            pointer = builder.bitcast(builder.gep(view.data, [index]), _WORDS.as_pointer())
            _prefetch_element(builder, builder.gep(view.data, [builder.add(index, arguments[2])]))
            some = builder.load(pointer)
            some.align = 8
            for splat, best in zip(splats, least, strict=True):
                bits = _call(builder, "llvm.ctpop.v8i64", _WORDS, builder.xor(some, splat))
                # compared as bytes: the least of bytes takes one instruction, that of words two or more
                counts = builder.bitcast(bits, _BYTES)
                builder.store(_call(builder, "llvm.umin.v64i8", _BYTES, builder.load(best), counts), best)
        others = ir.Constant(_BYTES, ([0] + [255] * 7) * LANES)  # the bytes that hold no count
        found = [builder.or_(builder.load(best), others) for best in least]
        bytes_ = [_call(builder, "llvm.vector.reduce.umin.v64i8", ir.IntType(8), each) for each in found]
        integers = [builder.zext(byte, ir.IntType(64)) for byte in bytes_]
        return context.make_tuple(builder, signature.return_type, integers)

    asked = _tuple_of(types.uint64, len(queries))
    return _tuple_of(types.int64, len(queries))(words, asked, types.int64), generate


def _near_bits(_context: object, words: Any, first: object, query: object, farthest: object) -> Any:  # noqa: ARG001
    if words.layout != "C":
        return None

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        view = context.make_array(signature.args[0])(context, builder, arguments[0])
        pointer = builder.bitcast(builder.gep(view.data, [arguments[1]]), _TOGETHER.as_pointer())
        some = builder.load(pointer)
        some.align = 8
        different = builder.xor(some, _splat(builder, arguments[2], _TOGETHER))
        bits = _call(builder, "llvm.ctpop.v64i64", _TOGETHER, different)
        near = builder.icmp_signed("<=", bits, _splat(builder, arguments[3], _TOGETHER))
        return builder.bitcast(near, ir.IntType(64))

    return types.uint64(words, types.int64, types.uint64, types.int64), generate


def _near_sums(
    _context: object,
    codes: Any,
    first: Any,  # noqa: ARG001
    order: Any,
    words: Any,  # noqa: ARG001
    query: Any,
    masks: Any,
    weights: Any,
    farthest: Any,  # noqa: ARG001
    ahead: Any,  # noqa: ARG001
) -> Any:

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        places = (0, 2, 4, 5, 6)
        views = [context.make_array(signature.args[at])(context, builder, arguments[at]) for at in places]
        codes_WU, order_W, query_W, masks_EW, weights_EW = views
        first, words, farthest, ahead = (arguments[at] for at in (1, 3, 7, 8))
        count, length = (builder.extract_value(codes_WU.shape, axis) for axis in (0, 1))
        sums = [_variable(builder, ir.Constant(_WORDS, None)) for _ in range(64 // LANES)]  # in registers
        with cgutils.for_range(builder, words) as step:
            word = builder.load(builder.gep(order_W.data, [step.index]))
            query = _splat(builder, builder.load(builder.gep(query_W.data, [word])), _WORDS)
            start = builder.gep(codes_WU.data, [builder.add(builder.mul(word, length), first)])
            with cgutils.for_range(builder, builder.extract_value(masks_EW.shape, 0)) as plane:
                place = builder.add(builder.mul(plane.index, count), word)
                mask = _splat(builder, builder.load(builder.gep(masks_EW.data, [place])), _WORDS)
                weight = _splat(builder, builder.load(builder.gep(weights_EW.data, [place])), _WORDS)
                for number, kept in enumerate(sums):
                    here = builder.gep(start, [ir.Constant(first.type, number * LANES)])
                    _prefetch_element(builder, builder.gep(here, [ahead]))
                    some = builder.load(builder.bitcast(here, _WORDS.as_pointer()))
                    some.align = 8
                    different = builder.and_(builder.xor(some, query), mask)
                    bits = _call(builder, "llvm.ctpop.v8i64", _WORDS, different)
                    builder.store(builder.add(builder.load(kept), builder.mul(bits, weight)), kept)
        limit, near = _splat(builder, farthest, _WORDS), ir.Constant(ir.IntType(64), 0)
        for number, kept in enumerate(sums):
            eight = builder.bitcast(builder.icmp_signed("<=", builder.load(kept), limit), ir.IntType(8))
            shifted = builder.shl(builder.zext(eight, ir.IntType(64)), ir.IntType(64)(8 * number))
            near = builder.or_(near, shifted)
        return near

    number: Any = types.int64
    asked = types.uint64(codes, number, order, number, query, masks, weights, number, number)
    return asked, generate


popcount = cast(Callable[[Any], int], intrinsic(_popcount))
prefetch = cast(Callable[[Words, int], None], intrinsic(_prefetch))
least_bits = cast(Callable[[Words, tuple[int, ...], int], tuple[int, ...]], intrinsic(_least_bits))
near_bits = cast(Callable[[Words, int, int, int], np.uint64], intrinsic(_near_bits))
near_sums = cast(Callable[..., np.uint64], intrinsic(_near_sums))
