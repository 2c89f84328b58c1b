"""The binary32 units, bit for bit against oracles that share nothing with them.

A testbench streams binary operand files through the units. ``fma`` is vectorised: the product of
two binary32 values is exact in binary64, Knuth's two-sum gives the exact error of the binary64 sum,
and rounding that sum to odd makes the final rounding to binary32 the only one (Boldo and Melquiond,
"Emulation of a FMA and correctly-rounded sums", 2008).
``fma_exact`` does the same by rational numbers, one case at a time.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import subprocess
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import ArrayLike, NDArray

from dataflow.cosim.toolchain import Model, build_binary

pytestmark = pytest.mark.rtl

ROOT = Path(__file__).resolve().parents[2]
SOURCES = [
    *(ROOT / "hw/rtl/vector" / name for name in ("fp32_pkg.sv", "fp32_fma.sv")),
    *(ROOT / "hw/rtl/vector" / name for name in ("int_to_fp32.sv", "fp32_to_int.sv")),
    ROOT / "tests/rtl/harness/fp32_vectors_tb.sv",
]

U32 = NDArray[np.uint32]
QUIET_NAN = 0x7FC00000
EDGE_VALUES = np.array(
    [
        *(0x00000000, 0x00000001, 0x00000002, 0x00000003, 0x00400000, 0x007FFFFE, 0x007FFFFF),
        *(0x00800000, 0x00800001, 0x00FFFFFF, 0x01000000, 0x0C000000, 0x0C800001, 0x17FFFFFF),
        *(0x33800000, 0x33800001, 0x34000000, 0x3EFFFFFF, 0x3F000000, 0x3F000001, 0x3F7FFFFF),
        *(0x3F800000, 0x3F800001, 0x3FC00000, 0x3FFFFFFF, 0x40000000, 0x4B7FFFFF, 0x4B800000),
        *(0x5F000000, 0x7E800000, 0x7F000000, 0x7F7FFFFE, 0x7F7FFFFF, 0x7F800000, 0x7F800001),
        *(0x7FC00000, 0x7FFFFFFF),
    ],
    np.uint32,
)


def fma(a: U32, b: U32, c: U32) -> U32:
    """Bits of a * b + c rounded once to nearest even; every NaN is the quiet one."""
    with np.errstate(all="ignore"):
        x, y, z = (v.view(np.float32).astype(np.float64) for v in (a, b, c))
        product = x * y
        total = product + z
        back = total - product
        error = (product - (total - back)) + (z - back)
        bits = total.view(np.int64)
        inexact = np.isfinite(total) & (error != 0) & ((bits & 1) == 0)
        # Towards zero when the error points there, else up: either neighbour of an even is odd.
        step = np.where((error > 0) == (total > 0), 1, -1)
        odd = np.where(inexact, bits + step, bits).view(np.float64)
        result = odd.astype(np.float32)
    return np.where(np.isnan(result), np.uint32(QUIET_NAN), result.view(np.uint32))


def value(bits: int) -> Fraction:
    """The rational value of a finite binary32."""
    exponent, fraction = bits >> 23 & 0xFF, bits & 0x7FFFFF
    significand = fraction + (0x800000 if exponent else 0)
    magnitude = Fraction(significand) * Fraction(2) ** (max(exponent, 1) - 150)
    return -magnitude if bits >> 31 else magnitude


def round_to_fp32(exact: Fraction, zero_sign: int) -> int:
    """Bits of the binary32 nearest to a rational number, ties to even."""
    if exact == 0:
        return zero_sign << 31
    sign, magnitude = (1, -exact) if exact < 0 else (0, exact)
    exponent = max(magnitude.numerator.bit_length() - magnitude.denominator.bit_length() - 1, -126)
    while exponent > -126 and magnitude < Fraction(2) ** exponent:
        exponent -= 1
    while magnitude >= Fraction(2) ** (exponent + 1):
        exponent += 1
    units = round(magnitude / Fraction(2) ** (exponent - 23))  # Python rounds ties to even
    bits = ((exponent + 126) << 23) + units
    return sign << 31 | min(bits, 0x7F800000)


def fma_exact(a: int, b: int, c: int) -> int:
    """Bits of a * b + c for finite operands, by rational arithmetic."""
    sign_p, sign_c = (a ^ b) >> 31, c >> 31
    return round_to_fp32(value(a) * value(b) + value(c), sign_p & sign_c)


def from_int(x: NDArray[np.int32]) -> U32:
    """Bits of the binary32 nearest to a signed 32-bit integer, ties to even."""
    return x.astype(np.float32).view(np.uint32)


def to_int(
    x: U32, zero_point: NDArray[np.int64], lo: NDArray[np.int64], hi: NDArray[np.int64]
) -> NDArray[np.int64]:
    """min(max(rint(x) + zero_point, lo), hi), rint saturating at +-2^30; NaN gives lo."""
    with np.errstate(invalid="ignore"):  # signalling NaN
        real = x.view(np.float32).astype(np.float64)
    rounded = np.clip(np.rint(np.where(np.isnan(real), -(2.0**30), real)), -(2.0**30), 2.0**30)
    return np.asarray(np.clip(rounded.astype(np.int64) + zero_point, lo, hi), np.int64)


def edge_triples(values: U32) -> tuple[U32, U32, U32]:
    """Every triple of the given values and their negations."""
    signed = np.concatenate([values, values | np.uint32(0x80000000)])
    a, b, c = np.meshgrid(signed, signed, signed, indexing="ij")
    return a.ravel(), b.ravel(), c.ravel()


def random_triples(rng: np.random.Generator, count: int) -> tuple[U32, U32, U32]:
    """Operands of several kinds, ``count`` of each: any bits; addend near the product; exact
    or nearly exact cancellation; subnormal results; few significant bits (ties)."""

    def any_bits() -> U32:
        return rng.integers(0, 2**32, count, np.uint32)

    def moderate() -> U32:
        exponents = rng.integers(64, 190, count, np.uint32)
        return (any_bits() & np.uint32(0x807FFFFF)) | (exponents << np.uint32(23))

    def addend(a: U32, b: U32, spread: int) -> U32:
        exponent = (a >> 23 & 0xFF).astype(np.int64) + (b >> 23 & 0xFF) - 127
        exponent = np.clip(exponent + rng.integers(-spread, spread + 1, count), 0, 254)
        return (any_bits() & np.uint32(0x807FFFFF)) | (exponent << 23).astype(np.uint32)

    def cancelling(a: U32, b: U32) -> U32:
        with np.errstate(all="ignore"):
            c = (-(a.view(np.float32) * b.view(np.float32))).view(np.uint32)
        return np.asarray(c + rng.integers(0, 3, count, np.uint32) - np.uint32(1), np.uint32)

    def few_bits(v: U32) -> U32:
        mask = np.uint32(0xFFFFFFFF) << rng.integers(0, 24, count, np.uint32)
        return v & mask

    def tiny() -> U32:
        bits = any_bits() & np.uint32(0x80FFFFFF)
        return np.asarray(bits >> rng.integers(0, 24, count, np.uint32) % 2, np.uint32)

    kinds: list[tuple[U32, U32, U32]] = [(any_bits(), any_bits(), any_bits())]
    a, b = moderate(), moderate()
    kinds.append((a, b, addend(a, b, 60)))
    kinds.append((a, b, addend(a, b, 3)))
    kinds.append((a, b, cancelling(a, b)))
    a, b = few_bits(moderate()), few_bits(moderate())
    kinds.append((a, b, few_bits(addend(a, b, 28))))
    kinds.append((a, b, cancelling(a, b)))
    # Products around the smallest normal number, with subnormal or small addends.
    a = moderate()
    exponents = 127 - (a >> 23 & 0xFF).astype(np.int64) + rng.integers(-26, 30, count)
    b = (any_bits() & np.uint32(0x807FFFFF)) | (np.clip(exponents, 0, 254) << 23).astype(np.uint32)
    kinds.append((a, b, tiny()))
    kinds.append((a, b, cancelling(a, b)))
    # One subnormal factor with leading zeros, against an addend of any distance.
    a = any_bits() >> rng.integers(9, 32, count, np.uint32)
    b = any_bits() & np.uint32(0x7FFFFFFF)
    kinds.append((a, b, any_bits()))
    kinds.append((a, b, cancelling(a, b)))
    with np.errstate(all="ignore"):
        product = (a.view(np.float32) * b.view(np.float32)).view(np.uint32)
    distance = rng.integers(-3 << 23, 30 << 23, count)
    near = np.clip((product & 0x7FFFFFFF).astype(np.int64) - distance, 0, 0x7F7FFFFF)
    kinds.append((a, b, near.astype(np.uint32) | (any_bits() & np.uint32(0x80000000))))
    first, second, third = (np.concatenate(column) for column in zip(*kinds, strict=True))
    return first, second, third


class Units:
    """The built testbench."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.executable = build_binary(Model(SOURCES, "fp32_vectors_tb", folder / "build"))

    def run(self, unit: str, *operands: ArrayLike, stall: bool = False) -> U32:
        """Results of one unit for arrays of operands, through random enables if ``stall``."""
        columns = [np.asarray(operand).astype(np.int64) & 0xFFFFFFFF for operand in operands]
        records = np.zeros((len(columns[0]), 4), ">u4")
        for index, column in enumerate(columns):
            records[:, index] = column
        vectors, results = self.folder / "vectors.bin", self.folder / "results.bin"
        records.tofile(vectors)
        subprocess.run(
            [
                *(str(self.executable), f"+unit={unit}", f"+vectors={vectors}"),
                *(f"+results={results}", f"+stall={int(stall)}"),
            ],
            check=True,
            capture_output=True,
        )
        bits = np.fromfile(results, "<u4")
        assert len(bits) == len(records)
        return bits

    def check_fma(self, operands: tuple[U32, U32, U32], stall: bool = False) -> None:
        """Compares every result with the oracle and shows the first wrong one."""
        got, want = self.run("fma", *operands, stall=stall), fma(*operands)
        wrong = np.flatnonzero(got != want)
        shown = [f"{int(v[wrong[0]]):08x}" for v in (*operands, got, want)] if len(wrong) else []
        assert len(wrong) == 0, f"{len(wrong)} wrong, first: a b c got want = {' '.join(shown)}"


@pytest.fixture(scope="module")
def units(tmp_path_factory: pytest.TempPathFactory) -> Units:
    return Units(tmp_path_factory.mktemp("fp32"))


def test_fma_by_hand(units: Units) -> None:
    cases = np.array(
        [
            # a           b           c           a * b + c
            (0x40000000, 0x40400000, 0x3F800000, 0x40E00000),  # 2 * 3 + 1 = 7
            (0x3F800001, 0x3F800001, 0xBF800002, 0x28800000),  # (1+u)^2 - (1+2u) = u^2 = 2^-46
            (0x3F800000, 0x3F800000, 0xBF800000, 0x00000000),  # exact cancellation: +0
            (0x80000000, 0x3F800000, 0x80000000, 0x80000000),  # -0 + -0 = -0
            (0x80000000, 0x3F800000, 0x00000000, 0x00000000),  # -0 + +0 = +0
            (0x00000000, 0x5F000000, 0x00000001, 0x00000001),  # zero times huge leaves c
            (0x00000001, 0x3F000000, 0x00000000, 0x00000000),  # 2^-150 is a tie, to even: 0
            (0x00000003, 0x3F000000, 0x00000000, 0x00000002),  # 1.5 * 2^-149, to even: 2
            (0x00000001, 0xBF000000, 0x00000000, 0x80000000),  # underflow keeps its sign
            (0x00800000, 0x3F000000, 0x00000000, 0x00400000),  # gradual underflow, exact
            (0x007FFFFF, 0x3F800000, 0x00000001, 0x00800000),  # subnormal to normal
            (0x7F7FFFFF, 0x3F800000, 0x73000000, 0x7F800000),  # max + half an ulp: infinity
            (0x7F7FFFFF, 0x3F800000, 0x72FFFFFF, 0x7F7FFFFF),  # just below: max
            (0x7F7FFFFF, 0x40000000, 0xFF7FFFFF, 0x7F7FFFFF),  # no overflow in between
            (0x7F800000, 0x00000000, 0x3F800000, 0x7FC00000),  # inf * 0
            (0x7F800000, 0x3F800000, 0xFF800000, 0x7FC00000),  # inf - inf
            (0x7F7FFFFF, 0x7F7FFFFF, 0xFF800000, 0xFF800000),  # finite product, -inf
            (0xFF800000, 0x3F800000, 0x7F7FFFFF, 0xFF800000),
            (0x3F800000, 0x3F800000, 0x7F800001, 0x7FC00000),  # signalling NaN
        ],
        np.uint32,
    )
    got = units.run("fma", *cases[:, :3].T)
    assert [f"{bits:08x}" for bits in got] == [f"{bits:08x}" for bits in cases[:, 3]]


def test_fma_on_all_triples_of_edge_values(units: Units) -> None:
    units.check_fma(edge_triples(EDGE_VALUES))


@pytest.mark.parametrize("stall", [False, True])
def test_fma_on_random_operands(units: Units, stall: bool) -> None:
    units.check_fma(random_triples(np.random.default_rng(1 + stall), 120_000), stall)


@pytest.mark.parametrize("stall", [False, True])
def test_product_alone_is_that_with_minus_zero(units: Units, stall: bool) -> None:
    """Whatever lies at c then: half of the operations are products, the others as before."""
    rng = np.random.default_rng(3 + stall)
    one, other = edge_triples(EDGE_VALUES), random_triples(rng, 20_000)
    a, b, c = (np.concatenate(columns) for columns in zip(one, other, strict=True))
    alone = rng.integers(0, 2, len(a), np.uint32)
    got = units.run("fma", a, b, c, alone << np.uint32(31), stall=stall)
    want = fma(a, b, np.where(alone == 1, np.uint32(0x80000000), c))
    assert np.flatnonzero(got != want).tolist() == []


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(8))
def test_fma_on_many_random_operands(units: Units, seed: int) -> None:
    units.check_fma(random_triples(np.random.default_rng(100 + seed), 500_000))


def test_fma_oracle_agrees_with_rational_arithmetic_and_libm() -> None:
    library = ctypes.CDLL(ctypes.util.find_library("m"))
    library.fmaf.restype = ctypes.c_float
    library.fmaf.argtypes = [ctypes.c_float] * 3
    operands = random_triples(np.random.default_rng(3), 800)
    for a, b, c, want in zip(*operands, fma(*operands), strict=True):
        if all(int(bits) >> 23 & 0xFF != 0xFF for bits in (a, b, c)):
            assert fma_exact(int(a), int(b), int(c)) == want
        with np.errstate(invalid="ignore"):
            result = np.float32(library.fmaf(*(float(v.view(np.float32)) for v in (a, b, c))))
        assert (QUIET_NAN if np.isnan(result) else int(result.view(np.uint32))) == want


def test_int_to_fp32(units: Units) -> None:
    rng = np.random.default_rng(4)
    powers = np.array([2**bit for bit in range(32)], np.int64)
    near = (powers[:, None] + np.arange(-140, 141)).ravel()
    ties = np.array([2**24 + 1, 2**24 + 3, 2**25 + 2, 2**25 + 6, 2**30 + 64, 2**30 + 192])
    spread = rng.integers(-(2**31), 2**31, 300_000) >> rng.integers(0, 31, 300_000)
    edges = np.clip(np.concatenate([near, -near, ties, -ties]), -(2**31), 2**31 - 1)
    x = np.concatenate([edges, spread]).astype(np.int32)
    got = units.run("from_int", x, stall=True)
    np.testing.assert_array_equal(got, from_int(x))
    hand = units.run("from_int", [0, 1, -1, 2**31 - 1, -(2**31), 2**24 + 1, 2**24 + 3])
    assert [f"{bits:08x}" for bits in hand] == [
        *("00000000", "3f800000", "bf800000", "4f000000", "cf000000", "4b800000", "4b800002"),
    ]


def test_fp32_to_int(units: Units) -> None:
    rng = np.random.default_rng(5)
    halves = (np.arange(-8400, 8401) / 4).astype(np.float32)
    fractions = rng.uniform(-700, 700, 300_000).astype(np.float32)
    near_ties = np.concatenate([np.nextafter(halves, np.float32(9e9)), -halves, halves])
    edges = np.concatenate([EDGE_VALUES, EDGE_VALUES | np.uint32(0x80000000)])
    x = np.concatenate(
        [
            *(values.view(np.uint32) for values in (fractions, near_ties)),
            rng.integers(0, 2**32, 200_000, np.uint32),
            np.repeat(edges, 100),
        ]
    )
    zero_point, first, second = (rng.integers(-512, 512, len(x)) for _ in range(3))
    ordered = rng.random(len(x)) < 0.95
    lo = np.where(ordered, np.minimum(first, second), first)
    hi = np.where(ordered, np.maximum(first, second), second)
    got = units.run("to_int", x, zero_point, lo, hi, stall=True).view(np.int32)
    np.testing.assert_array_equal(got, to_int(x, zero_point, lo, hi))


def test_fp32_to_int_by_hand(units: Units) -> None:
    reals = np.array([0.5, 1.5, 2.5, -0.5, -2.5, 126.5, 127.5, 3e38, -3e38, np.nan, np.inf])
    x = reals.astype(np.float32).view(np.uint32)
    lo, hi = [np.full(len(x), bound) for bound in (-128, 127)]
    got = units.run("to_int", x, np.full(len(x), 1), lo, hi).view(np.int32)
    assert got.tolist() == [1, 3, 3, 1, -1, 127, 127, 127, -128, -128, 127]
