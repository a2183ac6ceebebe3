"""What kernels need of the machine and Numba does not offer: prefetch, and a barrier."""
# mypy: disable-error-code="no-untyped-def,no-untyped-call"

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

SPINS = 30_000  # some 10 us before a waiting worker offers its core to others


@intrinsic
def prefetch(context: Any, array: Any, index: Any) -> Any:
    """Ask for the cache line of array[index]; an index beyond the array is harmless."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        view = context.make_array(signature.args[0])(context, builder, args[0])
        address = builder.bitcast(
            builder.gep(view.data, [args[1]]), ir.IntType(8).as_pointer()
        )
        word = ir.IntType(32)
        function = cgutils.get_or_insert_function(
            builder.module,
            ir.FunctionType(ir.VoidType(), [ir.IntType(8).as_pointer(), word, word, word]),
            "llvm.prefetch.p0",
        )
        builder.call(function, [address, word(0), word(1), word(1)])
        return context.get_dummy_value()

    return types.void(array, types.intp), generate


@intrinsic
def atomic_add(context: Any, array: Any, index: Any, amount: Any) -> Any:
    """array[index] += amount as one step, for int64 arrays; the old value."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        view = context.make_array(signature.args[0])(context, builder, args[0])
        place = builder.gep(view.data, [args[1]])
        return builder.atomic_rmw("add", place, args[2], "seq_cst")

    return types.int64(array, types.intp, types.int64), generate


@intrinsic
def atomic_load(context: Any, array: Any, index: Any) -> Any:
    """array[index] as other threads last wrote it, for int64 arrays."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        view = context.make_array(signature.args[0])(context, builder, args[0])
        return builder.load_atomic(builder.gep(view.data, [args[1]]), "acquire", 8)

    return types.int64(array, types.intp), generate


@intrinsic
def give_way(context: Any) -> Any:
    """Let another thread that waits for this core run first."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        function = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(ir.IntType(32), []), "sched_yield"
        )
        builder.call(function, [])
        return context.get_dummy_value()

    return types.void(), generate


@intrinsic
def call_update(
    context: Any, function: Any, state: Any, at: Any, stride: Any, parameters: Any, places: Any,
    row: Any, acc: Any, here: Any, flags: Any, size: Any, word: Any, core: Any, base: Any,
    field: Any,
) -> Any:  # fmt: skip
    """Call the update loop at address `function` on `size` neurons (see `kernel.update_source`)."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        def place(array: int, *index: int) -> Any:
            kind = signature.args[array]
            view = context.make_array(kind)(context, builder, args[array])
            if len(index) == 2:
                columns = cgutils.unpack_tuple(builder, view.shape)[1]
                start = builder.mul(args[index[0]], columns)
                return builder.gep(view.data, [builder.add(start, ir.IntType(64)(7))])
            return builder.gep(view.data, [args[index[0]]]) if index else view.data

        pointers = [place(1, 2), place(4), place(5, 6, 6), place(7, 8), place(9)]
        numbers = [args[n] for n in (3, 10, 11, 12, 13, 14)]
        long = ir.IntType(64)
        kind = ir.FunctionType(long, [p.type for p in pointers] + [long] * 6)
        target = builder.inttoptr(args[0], kind.as_pointer())
        return builder.call(target, [*pointers, *numbers])

    long = types.int64
    return long(
        long, state, long, long, parameters, places, long, acc, long, flags, long, long, long, long,
        long,
    ), generate  # fmt: skip


@intrinsic
def call_learn(
    context: Any, function: Any, addresses: Any, table: Any, row: Any, spikes: Any, signals: Any,
    tick: Any, count: Any, slot: Any, word: Any, lines: Any,
) -> Any:  # fmt: skip
    """Call the loop of a learning rule at address `function` (see `rule_loop.loop_source`)."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        def place(array: int, index: int | None = None) -> Any:
            view = context.make_array(signature.args[array])(context, builder, args[array])
            if index is None:
                return view.data
            columns = cgutils.unpack_tuple(builder, view.shape)[1]
            return builder.gep(view.data, [builder.mul(args[index], columns)])

        pointers = [place(1), place(2, 3), place(4), place(5, 6)]
        long = ir.IntType(64)
        kind = ir.FunctionType(long, [p.type for p in pointers] + [long] * 4)
        target = builder.inttoptr(args[0], kind.as_pointer())
        return builder.call(target, [*pointers, *args[7:]])

    long = types.int64
    return long(
        long, addresses, table, long, spikes, signals, long, long, long, long, long
    ), generate


@njit(nogil=True)
def wait_for_all(barrier: Any, workers: int, round_number: int) -> None:
    """Return when all `workers` have arrived at round `round_number` (1, 2, ...)."""
    atomic_add(barrier, 0, 1)
    goal = workers * round_number
    spins = 0
    while atomic_load(barrier, 0) < goal:
        spins += 1
        if spins > SPINS:
            give_way()
