"""Conversions between the few units that the package uses; names carry the unit everywhere else."""

from __future__ import annotations

from fractions import Fraction

BITS_PER_BYTE = 8
KIB = 1024


def bits_to_bytes(bits: int) -> int:
    """Bytes needed to store ``bits`` (rounded up)."""
    return -(-bits // BITS_PER_BYTE)


def cycles_to_seconds(cycles: int, clock_mhz: Fraction) -> float:
    """Seconds that ``cycles`` take at ``clock_mhz`` (> 0)."""
    return float(Fraction(cycles) / (clock_mhz * 1_000_000))


def exact(number: float) -> Fraction:
    """The decimal a person wrote as a fraction: ``exact(0.1) == Fraction(1, 10)``.

    A float read from a file is the nearest binary value; ``repr`` gives back the shortest decimal
    that denotes it, which is what stood in the file (up to 15 significant digits).
    """
    return Fraction(repr(number)) if isinstance(number, float) else Fraction(number)


def format_bytes(count: int) -> str:
    """``65536`` as ``64 KiB``: the largest binary unit that keeps one decimal exact enough."""
    value, unit = float(count), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if value < KIB:
            break
        value, unit = value / KIB, larger
    return f"{value:.0f} {unit}" if value == int(value) else f"{value:.1f} {unit}"
