"""Every reason for which the machine refuses something, each by the smallest cascade that has it.

All are text cascades of 8-bit codes. A reason that is no case here fails the last test.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from dataflow import lower as room
from dataflow.ir import Cascade, text
from dataflow.lower.lower import layers_of
from dataflow.lower.pipeline import MACHINE
from dataflow.lower.refusal import Refused
from dataflow.rewrite import run_passes
from dataflow.rewrite.legal import DEAD_CODE, ordered

Array = np.ndarray
CODES = np.arange(64, dtype=np.int8)


@dataclass(frozen=True)
class Case:
    """A cascade and the reason for which its first refused Einsum is refused.

    Attributes:
        tensors: ``name: (ranks, type)``; sizes are those of `SIZES`.
        weights: data by name.
        outputs: tensors that leave.
    """

    reason: str
    tensors: Mapping[str, tuple[str, str]]
    expressions: str
    weights: Mapping[str, Array] = field(default_factory=dict)
    outputs: tuple[str, ...] = ("Y",)

    def cascade(self) -> Cascade:
        """The legal cascade."""
        ranks = sorted({r for names, _ in self.tensors.values() for r in names} | self.variables())
        lines = ["einsum:", f"  shapes: {{{', '.join(f'{r}: {SIZES[r]}' for r in ranks)}}}"]
        declared = [f"{n}: [{', '.join(names)}]" for n, (names, _) in self.tensors.items()]
        types = [f"{n}: {kind}" for n, (_, kind) in self.tensors.items()]
        lines += [f"  declaration: {{{', '.join(declared)}}}", f"  types: {{{', '.join(types)}}}"]
        lines += [f"  outputs: [{', '.join(self.outputs)}]"]
        if self.weights:
            lines.append(f"  weights: [{', '.join(self.weights)}]")
        lines.append("  expressions: |")
        lines += [f"    {line.strip()}" for line in self.expressions.strip().splitlines()]
        written = text.loads("\n".join(lines) + "\n", data=dict(self.weights))
        # Without the rewrites: some would make what is refused here run.
        return run_passes(written, (DEAD_CODE, ordered("sequential")))[-1].cascade

    def variables(self) -> set[str]:
        """Ranks of the variables in the expressions."""
        return {letter.upper() for letter in re.findall(r"\b[a-z]\b", self.expressions)}


SIZES = {
    "A": 3,
    "B": 4,
    "C": 5,
    "D": 6,
    "E": 7,
    "F": 8,
    "G": 0,
    "H": 1200,
    "R": 3,
    "S": 2,
    "T": 2,
    "P": 5,
    "Q": 6,
    "V": 2,
    "W": 40,
    "Z": 1100,
    "O": 1,
    "L": 256,
}
S8, U8, F32, S32 = "int8", "uint8", "float32", "int32"
CODE = "clip(rint({}), -128, 127)"
WORD = "{0}[a, {1}] + {0}[a, {2}] * 256 + {0}[a, {3}] * 65536"
U8 = "uint8"


def codes(expr: str) -> str:
    """The expression as 8-bit codes."""
    return CODE.format(expr)


def line(name: str, expr: str, variables: str = "a, b") -> str:
    return f"{name}[{variables}] = {expr}"


X = {"X": ("AB", S8), "Y": ("AB", S8)}
PRODUCT = {"X": ("AC", S8), "W0": ("CB", S8), "ACC": ("AB", S32), "Y": ("AB", S8)}
WEIGHT = {"W0": np.ones((5, 4), np.int8)}
ACC = "ACC[a, b] = X[a, c] * W0[c, b] :: add(c)"


def refused(case: Case) -> tuple[Refused, ...]:
    """What of the case is refused."""
    cascade = case.cascade()
    return layers_of(cascade, run_passes(cascade, MACHINE)[-1].cascade).refused


BIG = np.linspace(0.5, 2, 24).astype(np.float32)

CASES = [
    Case(
        "divides by a reduced value",
        {"X": ("AB", S8), "M": ("A", F32), "Y": ("A", S8)},
        "M[a] = f32(X[a, b]) :: max(b)\nY[a] = " + codes("1.0 / M[a]"),
    ),
    Case(
        "divides what may be infinite by no single number",
        X,
        line("Y", codes("stage_exp(f32(X[a, b])) / 0.3")),
    ),
    Case(
        "reads words of several rows",
        {**X, "D": ("AL", U8), "E": ("AL", U8)},
        line(
            "Y",
            codes(
                f"f32(X[a, b]) + f32({WORD.format('D', 0, 1, 2)})"
                f" + f32({WORD.format('E', 0, 1, 2)})"
            ),
        ),
    ),
    Case(
        "reads nothing but words of rows",
        {"D": ("AL", U8), "Y": ("A", S8)},
        line("Y", codes(f"f32({WORD.format('D', 0, 1, 2)}) * 0.001"), "a"),
    ),
    Case("divides by a constant outside", X, line("Y", codes("f32(X[a, b]) / 1e-38"))),
    Case(
        "needs more than eight constants",
        X,
        line("Y", codes("+".join(["f32(X[a, b])"] + [f"{k}.5" for k in range(9)]))),
    ),
    Case(
        "rounds to codes from -900",
        {"X": ("AB", S8), "Y": ("AB", S8)},
        line("Y", "clip(clip(rint(f32(X[a, b])), -900, 900), -128, 127)"),
    ),
    Case(
        "subtracts two integer tensors",
        {**X, "Z0": ("AB", S8)},
        line("Y", "clip(X[a, b] - Z0[a, b], -128, 127)"),
    ),
    Case("multiplies integers outside", X, line("Y", "clip(X[a, b] * X[a, b] + 1, -128, 127)")),
    Case(
        "reads more than two activations",
        {**X, "Z0": ("AB", S8), "V0": ("AB", S8)},
        line("Y", codes("f32(X[a, b]) + f32(Z0[a, b]) + f32(V0[a, b])")),
    ),
    Case(
        "needs more than two numbers per channel",
        {**PRODUCT, "I0": ("B", S32), "K0": ("B", F32), "K1": ("B", F32)},
        ACC + "\n" + line("Y", codes("f32(ACC[a, b] + I0[b]) * K0[b] + K1[b]")),
        {**WEIGHT, "I0": np.arange(4, dtype=np.int32), "K0": BIG[:4], "K1": BIG[4:8]},
    ),
    Case(
        "32-bit numbers that vary over points and channels",
        {**PRODUCT, "K0": ("AB", F32)},
        ACC + "\n" + line("Y", codes("f32(ACC[a, b]) * K0[a, b]")),
        {**WEIGHT, "K0": BIG[:12].reshape(3, 4)},
    ),
    Case(
        "looks up a table computed",
        {**X, "T0": ("L", S8), "T1": ("L", S8)},
        "T1[l] = clip(rint(f32(T0[l])), -128, 127)\n" + line("Y", "lookup(X[a, b], T1)"),
    ),
    Case(
        "looks up two tables",
        {**X, "T0": ("L", S8), "T1": ("L", S8)},
        line("Y", "lookup(lookup(X[a, b], T0), T1)"),
        {"T0": np.arange(256).astype(np.int8), "T1": np.arange(256)[::-1].astype(np.int8)},
    ),
    Case(
        "which no lane accumulates",
        {"X": ("AB", S8), "Y": ("A", S8), "M": ("A", F32)},
        "M[a] = f32(X[a, b]) :: mul(b)\nY[a] = " + codes("M[a]"),
    ),
    Case(
        "takes a padded maximum",
        {"X": ("AQ", S8), "M": ("AP", F32), "Y": ("AP", S8)},
        "M[a, p] = f32(X[a, p + r - 1]) * 2.0 :: max(r)\nY[a, p] = " + codes("M[a, p]"),
    ),
    Case(
        "takes a padded minimum",
        {"X": ("AQ", S8), "M": ("AP", F32), "Y": ("AP", S8)},
        "M[a, p] = f32(X[a, p + r - 1]) * 2.0 :: min(r)\nY[a, p] = " + codes("M[a, p]"),
    ),
    Case(
        "sums numbers with padding",
        {"X": ("AQ", S8), "M": ("AP", F32), "Y": ("AP", S8)},
        "M[a, p] = f32(X[a, p + r - 1]) + 2.0 :: add(r)\nY[a, p] = " + codes("M[a, p]"),
    ),
    Case(
        "sums table entries",
        {"X": ("AQ", S8), "M": ("AP", S32), "Y": ("AP", S8), "T0": ("L", S8)},
        "M[a, p] = lookup(X[a, p + r - 1], T0) :: add(r)\nY[a, p] = " + codes("f32(M[a, p])"),
        {"T0": np.arange(256).astype(np.int8)},
    ),
    Case(
        "behind a second activation",
        {**X, "Z0": ("AB", S8), "K0": ("A", F32)},
        line("Y", codes("(f32(X[a, b]) + f32(Z0[a, b])) * K0[a]")),
        {"K0": BIG[:3]},
    ),
    Case(
        "multiplies computed",
        {"X": ("AC", S8), "W0": ("CB", S8), "ACC": ("AB", F32), "Y": ("AB", S8)},
        "ACC[a, b] = (f32(X[a, c]) * 0.5) * f32(W0[c, b]) :: add(c)\n"
        + line("Y", codes("ACC[a, b]")),
        WEIGHT,
    ),
    Case(
        "multiplies int32",
        {"X": ("AC", S8), "W0": ("CB", S32), "ACC": ("AB", S32), "Y": ("AB", S8)},
        ACC + "\n" + line("Y", codes("f32(ACC[a, b])")),
        {"W0": np.ones((5, 4), np.int32)},
    ),
    Case(
        "zero point computed at run time",
        {**PRODUCT, "Z0": ("A", S8)},
        "ACC[a, b] = (X[a, c] - Z0[a]) * W0[c, b] :: add(c)\n" + line("Y", codes("f32(ACC[a, b])")),
        WEIGHT,
    ),
    Case(
        "has a zero point per channel",
        {**PRODUCT, "Z0": ("C", S8)},
        "ACC[a, b] = (X[a, c] - Z0[c]) * W0[c, b] :: add(c)\n" + line("Y", codes("f32(ACC[a, b])")),
        {**WEIGHT, "Z0": np.arange(5, dtype=np.int8)},
    ),
    Case(
        "zero point is not one per output",
        {**PRODUCT, "Z0": ("C", S8)},
        "ACC[a, b] = X[a, c] * (W0[c, b] - Z0[c]) :: add(c)\n" + line("Y", codes("f32(ACC[a, b])")),
        {**WEIGHT, "Z0": np.arange(5, dtype=np.int8)},
    ),
    Case(
        "sums over a dimension",
        {"X": ("AB", S8), "W0": ("CB", S8), "ACC": ("A", S32), "Y": ("A", S8)},
        "ACC[a] = X[a, b] * W0[c, b] :: add(b, c)\nY[a] = " + codes("f32(ACC[a])"),
        WEIGHT,
    ),
    Case(
        "repeats its result",
        {"X": ("AC", S8), "W0": ("CB", S8), "ACC": ("ABD", S32), "Y": ("ABD", S8)},
        "ACC[a, b, d] = X[a, c] * W0[c, b] :: add(c)\nY[a, b, d] = " + codes("f32(ACC[a, b, d])"),
        WEIGHT,
    ),
    Case(
        "reads a window backwards",
        {"X": ("QC", S8), "W0": ("RCB", S8), "ACC": ("PB", S32), "Y": ("PB", S8)},
        "ACC[p, b] = X[5 - p - r + 1, c] * W0[r, c, b] :: add(r, c)\nY[p, b] = "
        + codes("f32(ACC[p, b])"),
        {"W0": np.ones((3, 5, 4), np.int8)},
    ),
    Case(
        "is no window",
        {"X": ("QC", S8), "W0": ("RSCB", S8), "ACC": ("PB", S32), "Y": ("PB", S8)},
        "ACC[p, b] = X[p + r + s - 1, c] * W0[r, s, c, b] :: add(r, s, c)\nY[p, b] = "
        + codes("f32(ACC[p, b])"),
        {"W0": np.ones((3, 2, 5, 4), np.int8)},
    ),
    Case(
        "spatial dimensions; the array",
        {"X": ("PQWC", S8), "W0": ("RSTCB", S8), "ACC": ("PQWB", S32), "Y": ("PQWB", S8)},
        "ACC[p, q, w, b] = X[p + r - 1, q + s - 1, w + t - 1, c] * W0[r, s, t, c, b] "
        ":: add(r, s, t, c)\nY[p, q, w, b] = " + codes("f32(ACC[p, q, w, b])"),
        {"W0": np.ones((3, 2, 2, 5, 4), np.int8)},
    ),
    Case(
        "convolves an activation",
        {"X": ("QC", S8), "W0": ("RCB", S8), "ACC": ("PB", S32), "Y": ("PB", S8)},
        "ACC[p, b] = X[p + r - 1, c] * W0[r, c, b] :: add(r, c)\nY[p, b] = "
        + codes("f32(ACC[p, b])"),
    ),
    Case(
        "is a product of two activations",
        {"X": ("AC", S8), "W0": ("CB", S8), "Z0": ("AB", S8), "ACC": ("AB", S32), "Y": ("AB", S8)},
        ACC + "\n" + line("Y", codes("f32(ACC[a, b]) + f32(Z0[a, b])")),
    ),
    Case(
        "reduces over 2 tensors",
        {"X": ("AB", S8), "Z0": ("AB", S8), "M": ("A", F32), "Y": ("A", S8)},
        "M[a] = f32(X[a, b]) + f32(Z0[a, b]) :: max(b)\nY[a] = " + codes("M[a]"),
    ),
    Case(
        "dimensions apart; the vector",
        {"X": ("ABCDEFP", S8), "M": ("ACEP", F32), "Y": ("ACEP", S8)},
        "M[a, c, e, p] = f32(X[a, b, c, d, e, f, p]) :: max(b, d, f)\nY[a, c, e, p] = "
        + codes("M[a, c, e, p]"),
    ),
    Case(
        "sums floats in another order",
        {"X": ("ABC", S8), "M": ("A", F32), "Y": ("A", S8)},
        "M[a] = f32(X[a, b, c]) * 0.5 :: add(c, b)\nY[a] = " + codes("M[a]"),
    ),
    Case("has no elements", {"X": ("G", S8), "Y": ("G", S8)}, "Y[g] = X[g]"),
    Case(
        "gathers data-dependent",
        {"X": ("AB", S8), "I0": ("A", "int64"), "Y": ("AB", S8)},
        "Y[a, b] = X[{I0[a]}, b]",
    ),
    Case(
        "scatters to data",
        {"X": ("AB", S8), "I0": ("A", "int64"), "Y": ("AB", S8)},
        "Y[{I0[a]}, b] = X[a, b] :: add(a)",
    ),
    Case("selects with", {"X": ("AB", S8), "Y": ("A", "int64")}, "Y[a] = X[a, b] :: arg_top(b)"),
    Case(
        "cannot take over",
        {"X": ("AB", S8), "M": ("A", F32), "N": ("A", F32), "Y": ("AB", S8)},
        "M[a] = f32(X[a, b]) :: max(b)\n" + line("Y", codes("f32(X[a, b]) - M[a]")),
    ),
    Case(
        "leaves the network", {"X": ("AB", S8), "Y": ("AB", F32)}, line("Y", "f32(X[a, b]) * 2.0")
    ),
    Case(
        "wider than the 8-bit codes that",
        {"X": ("AB", S8), "Y": ("AB", S32)},
        line("Y", "X[a, b] + 1"),
    ),
    Case(
        "; the memory holds 8-bit",
        {"X": ("AB", S8), "Y": ("AB", "int16")},
        line("Y", "s16(X[a, b])"),
    ),
    Case(
        "computes in float32", {"X": ("AB", S8), "Y": ("AB", "float16")}, line("Y", "f16(X[a, b])")
    ),
    Case("which no engine", {"X": ("AB", S8), "Y": ("AB", "bool")}, line("Y", "less(X[a, b], 3)")),
    Case(
        "machine reads 8-bit codes",
        {"X": ("AB", S32), "Y": ("AB", S8)},
        line("Y", "clip(X[a, b], -128, 127)"),
    ),
    Case("is not quantised", {"X": ("AB", F32), "Y": ("AB", S8)}, line("Y", codes("X[a, b]"))),
    Case("operations, more than", X, line("Y", codes("+".join(["f32(X[a, b])"] * 70)))),
]


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.reason)
def test_reason(case: Case) -> None:
    found = refused(case)
    assert found, "is not refused"
    assert case.reason in " | ".join(r.reason for r in found)
    assert all(r.fix for r in found)


NOT_SHOWN = frozenset(
    {
        # such a layer has one lane, and the word is its own
        "reads another word for each channel",
        # loops and indices: by networks, in tests/decide
        "is inside a loop over an iterative rank",
        "computes with the value of an index",
        # expressions: tests/lower/test_micro.py, and networks
        "the vector unit has no ",
        "divides by a computed number",
        "its expression has more than ",
        " values from point to point; a lane has ",
        ", which cannot wait in memory",
        # functions of accumulators: tests/rewrite/test_accumulators.py, tests/decide/test_decide.py
        " of numbers that are no 8-bit codes",
        "chooses between computed numbers",
        "has a slope that is computed at run time",
        "takes the magnitude of codes beside other work",
        # layouts that the choice of layouts and copies avoids for all cascades tried so far
        "its output columns lie in several places of the result",
        "its output columns have no place of their own in the result",
        "neither dimension of the second activation of the product is contiguous",
        " layers for one product: its batch or group dimensions lie apart",
        "the second activation of the product lies unevenly",
        "a window sum has its channels where its source has them",
        "a window sum reads its source as it lies",
        "pads an operand that lies in a layout which the array cannot read",
        "writes channels that do not lie side by side",
        "its outputs lie so differently from its source that it takes more than 4096 layers",
        "pools a tensor whose channels do not lie side by side",
        "its operands lie so differently that it takes more than 4096 layers",
        " do not lie side by side",
        " is not walked evenly",
        "reads no single run of bytes",
        # what the types of a cascade or an earlier refusal rule out
        "subtracts two zero points from one tensor",
        "its result is not rounded to codes",
        "divides by a constant map beside a second activation",
        " beside codes",
        "reads a constant map of 32-bit numbers before a second activation",
        "reads the pooled tensor again behind the pooling",
        "converts a float to float32",
        "looks up a table of ",
        "sums a window of ",
    }
)
"""Reasons that no case here has. What gets a case leaves this list; nothing new may join it."""


def reasons() -> Iterator[tuple[str, str]]:
    """Longest piece of plain text of each reason in the room, and its file and line."""
    for path in sorted(Path(room.__file__).parent.glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "CannotFuse":
                texts = [
                    part.value
                    for part in ast.walk(node.args[0])
                    if isinstance(part, ast.Constant) and isinstance(part.value, str)
                ]
                yield max(texts, key=len), f"{path.name}:{node.lineno}"


def test_no_two_causes_share_a_sentence() -> None:
    found = [text for text, _ in reasons()]
    assert sorted(found) == sorted(set(found))


def test_every_reason_has_a_case() -> None:
    seen = " | ".join(r.reason for case in CASES for r in refused(case))
    missing = {text for text, _ in reasons() if text not in seen}
    assert missing <= NOT_SHOWN
