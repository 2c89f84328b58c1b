"""Largest error and monotonicity of the function stage over all float32 arguments.

    python -m tests.evaluate.functions.campaign [FUNCTION...] [--sample] [--stride N]

Compiles ``campaign.cpp`` (the C++ form, which the tests hold to the NumPy form and the RTL bit for
bit) and prints a table. Every argument in the function's interval is evaluated, and every N-th
(default 61) outside it; ``--sample`` takes every N-th everywhere.

Away from zero, where the function's magnitude is at least 1/4, the error is relative; below that
absolute for the functions that have a zero. The others' is relative wherever the result is a normal
number.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from dataflow.emit.functions import HEADER, hls_function_table
from dataflow.resources import hls_dir

LIMIT = 2.0**-20
SAMPLE_STRIDE = 100_003
# Magnitudes (bits) that are tried one by one. Outside those of the functions with a fixed-point
# argument the stage's result is a constant. Those with a floating one depend on the significand and
# on little of the exponent: its parity (rsqrt, sqrt), a term (log2, log), a factor (reciprocal).
FLOATING = (0x3E800000, 0x40FFFFFF)  # 1/4 .. 8: five exponents
INTERVALS = {
    "exp2": (0x32800000, 0x43800000),  # 2^-26 .. 2^8
    "reciprocal": FLOATING,
    "rsqrt": FLOATING,
    "log2": FLOATING,
    "erf": (0x33000000, 0x40900000),  # 2^-25 .. 4.5
    "exp": (0x32800000, 0x43000000),  # 2^-26 .. 128
    "sigmoid": (0x32800000, 0x43000000),
    "tanh": (0x32000000, 0x41800000),  # 2^-27 .. 16
    "softplus": (0x32800000, 0x43000000),
    "log": FLOATING,
    "sqrt": FLOATING,
}
WITH_ZERO = ("log2", "erf", "tanh", "softplus", "log")  # softplus: at -infinity


@dataclass(frozen=True)
class Result:
    """What a run over one function found.

    Attributes:
        evaluated: arguments.
        back: neighbours among them that are out of order.
        wrong: NaN, or infinite, where the function is not, or the other way round.
        relative: largest relative error of normal results (`WITH_ZERO`: where the function's
            magnitude is at least 1/4), at which argument.
        near: largest absolute error where the magnitude is below 1/4.
        tiny: largest absolute error of results below the normal numbers.
    """

    name: str
    evaluated: int
    back: int
    wrong: int
    relative: float
    at: float
    near: float
    tiny: float

    @property
    def good(self) -> bool:
        """Within the limits, and monotone."""
        within = self.relative <= LIMIT and (self.name not in WITH_ZERO or self.near <= LIMIT)
        return within and self.back == 0 and self.wrong == 0


def build(folder: Path) -> Path:
    """The compiled program."""
    (folder / f"{HEADER}.h").write_text(hls_function_table(), encoding="utf-8")
    program = folder / "campaign"
    flags = ["-std=c++14", "-O2", "-ffp-contract=off", "-march=native", "-Wno-unknown-pragmas"]
    source = Path(__file__).with_suffix(".cpp")
    includes = [f"-I{folder}", f"-I{hls_dir()}"]
    subprocess.run(["g++", *flags, *includes, str(source), "-o", str(program)], check=True)
    return program


def run(program: Path, name: str, stride: int, sample: bool) -> Result:
    """Runs one function over its interval and every ``stride``-th argument outside it."""
    low, high = (0x80000000, 0x80000000) if sample else INTERVALS[name]
    done = subprocess.run(
        [str(program), name, f"{low:x}", f"{high:x}", str(stride)],
        check=True,
        capture_output=True,
        text=True,
    )
    got = json.loads(done.stdout)
    far = "_far" if name in WITH_ZERO else ""
    return Result(
        name,
        got["evaluated"],
        got["back"],
        got["wrong"],
        got[f"relative{far}"],
        got["at_far" if far else "at_relative"],
        got["absolute_near"],
        got["absolute_tiny"],
    )


def main() -> None:
    """Prints the table; exit status 1 when a limit is exceeded."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("functions", nargs="*", default=list(INTERVALS))
    parser.add_argument("--stride", type=int, default=61, metavar="N")
    parser.add_argument("--sample", action="store_true")
    chosen = parser.parse_args()
    print(
        f"{'function':10} {'arguments':>13} {'relative':>9} {'at':>13} {'near zero':>9} "
        f"{'subnormal':>9} {'back':>5} {'wrong':>5}"
    )
    good = True
    with tempfile.TemporaryDirectory() as scratch:
        program = build(Path(scratch))
        for name in chosen.functions:
            one = run(program, name, chosen.stride, chosen.sample)
            near = f"2^{math.log2(one.near):.2f}" if name in WITH_ZERO else "-"
            tiny = f"{one.tiny * 2.0**149:.2f}u" if name not in WITH_ZERO else "-"
            print(
                f"{name:10} {one.evaluated:13,} {f'2^{math.log2(one.relative):.2f}':>9} "
                f"{one.at:13.6g} {near:>9} {tiny:>9} {one.back:5} {one.wrong:5}",
                flush=True,
            )
            good = good and one.good
    raise SystemExit(0 if good else 1)


if __name__ == "__main__":
    main()
