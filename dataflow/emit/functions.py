"""The function stage's table in SystemVerilog and C++: one set of integers, two spellings."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from dataflow.emit.environment import render
from dataflow.evaluate.functions import Function, Row, composed, tables
from dataflow.machine.latencies import FUNCTION_LATENCY

PACKAGE = "fp32_function_pkg"  # of SystemVerilog
HEADER = "df_function_table"  # of C++


@dataclass(frozen=True)
class Named:
    """A constant or a member of an enumeration."""

    name: str
    value: int


@dataclass(frozen=True)
class RowView:
    """A row: its coefficients, and as the hexadecimal digits of one packed word."""

    c0: int
    c1: int
    c2: int
    word: str


@dataclass(frozen=True)
class FunctionView:
    """All that the two templates print."""

    functions: tuple[Named, ...]
    constants: tuple[Named, ...]
    floats: tuple[Named, ...]
    rows: tuple[RowView, ...]
    row_bits: int
    word_bits: int


def sv_function_package() -> str:
    """Text of ``fp32_function_pkg.sv``."""
    return render("sv", f"{PACKAGE}.sv", _view())


def hls_function_table() -> str:
    """Text of ``df_function_table.h``."""
    return render("hls", f"{HEADER}.h", _view())


@cache
def _view() -> FunctionView:
    row_bits = (tables.ROWS - 1).bit_length()
    bases = (Named(f"{_camel(f)}Row", tables.base(f)) for f in Function if f != Function.IDENTITY)
    return FunctionView(
        functions=tuple(Named(f"Function{_camel(f)}", int(f)) for f in Function),
        constants=(
            Named("C0Bits", tables.C0_BITS),
            Named("C0Fraction", tables.C0_FRACTION),
            Named("C1Bits", tables.C1_BITS),
            Named("C2Bits", tables.C2_BITS),
            Named("StepBits", tables.STEP_BITS),
            Named("StepFraction", tables.STEP_FRACTION),
            Named("InnerShift", tables.INNER_SHIFT),
            Named("ProductShift", tables.PRODUCT_SHIFT),
            Named("RowBits", row_bits),
            Named("FunctionLatency", FUNCTION_LATENCY),
            *bases,
        ),
        floats=tuple(
            Named(name, int(value.view("int32")))
            for name, value in (
                ("Log2E", composed.LOG2_E),
                ("Ln2", composed.LN_2),
                ("SoftplusLinear", composed.SOFTPLUS_LINEAR),
            )
        ),
        rows=tuple(map(_row, tables.table())),
        row_bits=row_bits,
        word_bits=tables.C0_BITS + tables.C1_BITS + tables.C2_BITS,
    )


def _row(row: Row) -> RowView:
    bits = (tables.C0_BITS, tables.C1_BITS, tables.C2_BITS)
    word = 0
    for value, width in zip((row.c0, row.c1, row.c2), bits, strict=True):
        word = word << width | value & (1 << width) - 1
    return RowView(row.c0, row.c1, row.c2, f"{word:0{(sum(bits) + 3) // 4}x}")


def _camel(function: Function) -> str:
    return function.name.capitalize()
