"""Products of a few rows with a large matrix, the work of every online step, in machine code.

    result_ro = Σ_i rows_ri matrix_oi

The matrix is kept in *panels* of :data:`PANEL` outputs.  While the inputs pass, the sums of a few rows with a panel stay in
registers: the matrix is read once, in the order in which it lies in memory, and every number meets all these rows when it is.
Inputs from which a panel has zeros only are left out: those that remain are *runs* of consecutive ones, few where symmetry
makes the zeros.  Compilers do not find this order in loops over arrays, so the innermost loop is written in LLVM's vector
instructions (K. Goto, R. A. van de Geijn, ACM Trans. Math. Softw. 34, 12 (2008), describe the scheme).

Every sum is taken in the order of its inputs, whatever the number of rows and the processor's vectors: a row has the same
numbers in any company, bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numba
import numpy as np
from llvmlite import binding, ir
from numba.core import cgutils, types
from numba.core.errors import TypingError
from numba.extending import intrinsic

from mpiqmd.compiling import compiled

PANEL = 16
"""Outputs of a panel: a multiple of every processor's vectors, so that rows padded to it need no special ends."""


Panels = tuple[np.ndarray, np.ndarray, int]
"""A matrix in panels.

values: what the outputs of a panel have of an input, shape (inputs of all panels, PANEL); bits of numbers in half precision.
runs: consecutive inputs of one panel: the panel, the first input, how many, and where they begin in values; shape (runs, 4).
Last, how many panels there are.
"""


def _has(feature: str) -> bool:
    """Whether code is compiled for this very processor, and it has a feature."""
    chosen = numba.config.CPU_NAME or numba.config.CPU_FEATURES
    # an unknown processor has no features that LLVM could tell
    with suppress(RuntimeError):
        return not chosen and bool(binding.get_host_cpu_features().get(feature, False))
    return False


AT_ONCE = 8 if _has("avx512f") else 2
"""Rows that pass a panel together, at most: as many sums as fit into half of the registers, of which there are 32 of eight
numbers or 16 of four."""
READS_HALVES = _has("f16c")
"""Whether panels may hold numbers in half precision, as their bits: others would have to be taken apart by a subroutine."""


def _adder(n_rows: int) -> Callable[..., None]:
    """Return what adds the products of so many rows with a panel to a result, for use in kernels."""

    @intrinsic
    def add_products(typing_context: Any, rows: Any, values: Any, result: Any, place: Any) -> tuple[Any, Callable]:
        """Add ``Σ_j rows[r, i + j] values[w + j, o]`` to ``result[r, p PANEL + o]``.

        ``place`` is the first r, and of a run its panel p, its first input i, how many j there are, and where it begins, w.
        """
        if any(array.layout != "C" for array in (rows, values, result)):
            raise TypingError("rows, panels and results are contiguous")
        signature = types.void(rows, values, result, types.UniTuple(types.intp, 5))
        return signature, _Sums(n_rows).generate

    return add_products


class _Sums:
    """Writes the instructions of :func:`_adder`."""

    vector = ir.VectorType(ir.DoubleType(), PANEL)

    def __init__(self, n_rows: int) -> None:
        self.n_rows = n_rows

    def generate(self, context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        """Write sums that stay in registers while inputs pass."""
        kinds = zip(signature.args[:3], arguments[:3], strict=True)
        rows, values, result = (context.make_array(kind)(context, builder, array) for kind, array in kinds)
        first_row, panel, first_input, length, begin = cgutils.unpack_tuple(builder, arguments[3])
        row_at = [builder.gep(at, [first_input]) for at in self._addresses(builder, rows, first_row)]
        column = builder.mul(panel, panel.type(PANEL))
        result_at = [self._vectors(builder, at, column, self.vector) for at in self._addresses(builder, result, first_row)]
        kept = ir.VectorType(context.get_data_type(signature.args[1].dtype), PANEL)
        values_at = self._vectors(builder, values.data, builder.mul(begin, begin.type(PANEL)), kept)
        sums = [cgutils.alloca_once_value(builder, builder.load(at, align=8)) for at in result_at]
        with cgutils.for_range(builder, length) as loop:
            self._add_input(builder, loop.index, row_at, values_at, sums)
        for total, at in zip(sums, result_at, strict=True):
            builder.store(builder.load(total), at, align=8)
        return context.get_dummy_value()

    def _addresses(self, builder: Any, array: Any, first_row: Any) -> list[Any]:
        """Return where the rows of an array begin."""
        length = cgutils.unpack_tuple(builder, array.shape)[1]
        numbers = (builder.add(first_row, first_row.type(number)) for number in range(self.n_rows))
        return [builder.gep(array.data, [builder.mul(number, length)]) for number in numbers]

    def _vectors(self, builder: Any, start: Any, place: Any, kind: Any) -> Any:
        """Return the address of the vectors of a kind that begin so many numbers after a start."""
        return builder.bitcast(builder.gep(start, [place]), kind.as_pointer())

    def _add_input(self, builder: Any, i: Any, row_at: list[Any], values_at: Any, sums: list[Any]) -> None:
        """Add the products of what rows have of an input with what the panel has, in double precision."""
        kept = builder.load(builder.gep(values_at, [i]), align=2)
        if kept.type.element == ir.IntType(16):
            kept = builder.bitcast(kept, ir.VectorType(ir.HalfType(), PANEL))
        values = kept if kept.type == self.vector else builder.fpext(kept, self.vector)
        for total, row in zip(sums, row_at, strict=True):
            factors = self._repeated(builder, builder.load(builder.gep(row, [i])))
            builder.store(self._multiply_add(builder, factors, values, builder.load(total)), total)

    def _repeated(self, builder: Any, value: Any) -> Any:
        """Return a vector of one number."""
        nothing, index = ir.Constant(self.vector, ir.Undefined), ir.IntType(32)
        first = builder.insert_element(nothing, value, index(0))
        return builder.shuffle_vector(first, nothing, ir.Constant(ir.VectorType(index, PANEL), [0] * PANEL))

    def _multiply_add(self, builder: Any, left: Any, right: Any, total: Any) -> Any:
        """Return ``left right + total``, in one instruction where the processor has it."""
        kind = ir.FunctionType(self.vector, [self.vector] * 3)
        function = cgutils.get_or_insert_function(builder.module, kind, f"llvm.fmuladd.v{PANEL}f64")
        return builder.call(function, [left, right, total])


_add_1, _add_2, _add_3, _add_4, _add_5, _add_6, _add_7, _add_8 = (_adder(min(n, AT_ONCE)) for n in range(1, 9))


@compiled()
def packed_product(rows: np.ndarray, panels: Panels) -> np.ndarray:
    """Return ``rows @ matrix^T`` (r, o), padded with zeros, of rows (r, i or more) and a matrix in panels."""
    (values, runs, n_panels), n_rows = panels, len(rows)
    result = np.zeros((n_rows, n_panels * PANEL))
    for k in range(len(runs)):
        panel, first, length, begin = runs[k, 0], runs[k, 1], runs[k, 2], runs[k, 3]
        for r in range(0, n_rows, AT_ONCE):
            place, left = (r, panel, first, length, begin), n_rows - r
            if left >= 8:
                _add_8(rows, values, result, place)
            elif left == 7:
                _add_7(rows, values, result, place)
            elif left == 6:
                _add_6(rows, values, result, place)
            elif left == 5:
                _add_5(rows, values, result, place)
            elif left == 4:
                _add_4(rows, values, result, place)
            elif left == 3:
                _add_3(rows, values, result, place)
            elif left == 2:
                _add_2(rows, values, result, place)
            else:
                _add_1(rows, values, result, place)
    return result
