"""Vector arithmetic seen through its lowest bits, which 8-bit codes hide.

Each case computes a float ``t`` from two operands of codes and writes what a far larger number
``M`` loses of it, ``(t - ((t + M) - M)) * step``: the bits of ``t`` below the last place of ``M``.
A wrong rounding, a lost sticky bit or a wrong alignment changes codes here that a quantised
network would round away.
"""

from __future__ import annotations

import numpy as np

from dataflow.ir import Cascade, text
from dataflow.npz import Array

POINTS = 640
CHANNELS = 40
LOW = "clip(rint(({t} - (({t} + {m}) - {m})) * {step}), -128, 127)"


def _low(value: str, ulp_log2: int) -> str:
    """Codes of the lowest bits of a number whose last place is 2^``ulp_log2``."""
    # M has its last place 2^7 above that of the value.
    return LOW.format(
        t=f"({value})", m=repr(1.5 * 2.0 ** (ulp_log2 + 30)), step=repr(2.0**-ulp_log2)
    )


X, Z = "f32(x[i])", "f32(z[i])"

VALUES: dict[str, str] = {
    # products of two rounded factors, about 2^13 large: last place about 2^-11
    "product": _low(f"({X} * 1.2345679) * ({Z} * 0.7654321)", -11),
    # one rounding instead of two
    "fused": _low(f"fma({X} * 1.2345679, {Z} * 0.7654321, {X} * 31.41592)", -11),
    "fused_far": _low(f"fma({X} * 0.0012345679, {Z}, 5001.6543)", -11),
    "fused_near": _low(f"fma({X}, 16777.213, {Z} * -16777.217)", -2),
    # addends of every distance, of both signs
    "sum_close": _low(f"{X} * 3.1415927 + {Z} * 2.7182817", -15),
    "sum_far": _low(f"{X} * 3.1415927 + {Z} * 0.00048828131", -15),
    "sum_tiny": _low(f"{X} * 64.0 + {Z} * 3.8146973e-06", -11),
    "difference": _low(f"{X} * 1.0000001 - {Z} * 1.0000002", -17),
    # half-way between two floats but for an addend, or a product, far below the last place
    "tie_broken_by_addend": _low(f"fma({X}, 262145.0, {Z} * 1e-12)", 1),
    "tie_broken_by_product": (
        # 8392705 * 8384513 = 2^46 + 1, half the last place of the addend and one more
        f"clip(rint((fma({X} * 0.0 + 8392705.0, 8384513.0, ({Z} + 8388736.0) * {2.0**47})"
        f" - ({Z} + 8388736.0) * {2.0**47}) * {100 * 2.0**-47}), -128, 127)"
    ),
    "zero_times_huge": f"clip(rint(fma({X}, 1e38, {Z} * 1e-30) * 7.5e29), -128, 127)",
    # numbers below 2^-126 on the way
    "subnormal": _low(f"{X} * 1e-43 * 1.6777216e7 * 8.507059e37", 1),
    "subnormal_sum": (
        f"clip(rint(fma({X}, 3e-45, {Z} * 1.4e-44) * 1.6777216e7 * 8.507059e37 * 0.04), -128, 127)"
    ),
    "subnormal_factor": f"clip(rint(fma({X} * 7e-44, 1.7e38, {Z} * 1e-7) * 8e4), -128, 127)",
    # beyond the largest number, and no number at all
    "infinite": f"clip(rint(min({X} * 3e37 * 1e2, 1e38) * 1e-36), -128, 127)",
    "no_number": f"clip(rint({X} * 3e37 * 1e2 - {Z} * 3e37 * 1e2), -128, 127)",
    "no_product": f"clip(rint(({X} * 3e37 * 1e2) * {Z}), -100, 99)",
    # orders of floats and integers of both signs
    "largest": f"clip(rint(max({X} * 0.5, {Z} * -0.3)) + 3, -128, 127)",
    "smallest": f"clip(rint(min({X} * 0.5, {Z} * -0.3)) + (-5), -120, 100)",
    "integers": "clip(max(min(x[i] + 17, z[i] - 9), -90) + 4, -128, 127)",
    # half-way, with every zero point and bound
    "ties": f"clip(rint({X} * 0.5) + (-7), -60, 50)",
    "ties_of_sums": f"clip(rint({X} * 0.25 + {Z} * 0.25) + 9, -128, 127)",
    "quotient": f"clip(rint(({X} * 0.043 + {Z} * 0.029) / 0.037), -128, 127)",
    "quotient_low": _low(f"({X} * 3.1415927 + {Z} * 0.57721566) / 0.71828182", -15),
}

FUNCTIONS: dict[str, str] = {
    # results of every piece of the stage's tables, special arguments, and each composed function
    "exponential": _low(f"stage_exp({X} * 0.03 + {Z} * 0.0001)", -19),
    "exponential_coarse": f"clip(rint(stage_exp({X} * 0.035 + {Z} * 0.0009)), -128, 127)",
    "exponential_of_any": f"clip(rint(stage_exp({X} * {Z} * 0.02) * 0.5), -128, 127)",
    "sigmoid": _low(f"stage_sigmoid({X} * 0.05 + {Z} * 0.001)", -24),
    "hyperbolic": _low(f"stage_tanh({X} * 0.02 + {Z} * 0.0007)", -24),
    "error_function": _low(f"stage_erf({X} * 0.02 + {Z} * 0.0007)", -24),
    "soft_maximum": _low(f"stage_softplus({X} * 0.1 + {Z} * 0.01)", -20),
    "logarithm": _low(f"stage_log({X} * 0.7 + {Z} * 0.001 + 90.3)", -21),
    "logarithm_of_any": f"clip(rint(stage_log({X} * 0.1) * 20.0), -100, 127)",
    "root": _low(f"stage_sqrt({X} * {X} + {Z} * {Z} + 1.7)", -16),
    "root_of_any": f"clip(rint(stage_sqrt({X} * {Z}) * 0.9), -100, 127)",
    "inverse_root": _low(f"stage_rsqrt({X} * {X} + {Z} * 0.01 + 2.0)", -26),
    "inverse": _low(f"stage_reciprocal({X} * 1.37 + {Z} * 0.001 + 0.2)", -27),
    "inverse_of_any": f"clip(rint(stage_reciprocal({X}) * {Z} * 11.0), -128, 127)",
    "subnormal_power": f"clip(rint(stage_exp({X} * 0.01 - 98.0) * 1e38 * 2e6), -128, 127)",
    "gaussian": f"clip(rint({X} * 0.5 * (stage_erf({X} * 0.03) + 1.0) + {Z} * 0.1), -128, 127)",
    # a number of no value in a maximum, a minimum, and times a sign
    "no_maximum": f"clip(rint(max(-stage_log({X}), {Z} * 1.0)), -100, 99)",
    "no_minimum": f"clip(rint(min(stage_log({X}), {Z} * 1.0)), -100, 99)",
}
"""Of machines with a function stage."""

ACCUMULATORS: dict[str, str] = {
    # 25 bits and more: the conversion rounds
    "converted": LOW.format(t="f32(acc[n, j] + bias[n])", m="3221225472.0", step="0.5"),
    "scaled": LOW.format(
        t="(f32(acc[n, j] + bias[n]) * scale[n])", m=repr(1.5 * 2.0**32), step="0.25"
    ),
}


def arithmetic(*, functions: bool) -> Cascade:
    """The cases as one Cascade, with its weights; ``functions``: with those too."""
    values = VALUES | (FUNCTIONS if functions else {})
    outputs = [*values, *ACCUMULATORS]
    codes = ", ".join(f"{name}: int8" for name in ("x", "z", "y", "w", *outputs))
    integers = ", ".join(f"{name}_acc: int32" for name in ACCUMULATORS)
    declared = [f"{name}: [I]" for name in values]
    lines = [f"{name}[i] = {value}" for name, value in values.items()]
    for name, value in ACCUMULATORS.items():
        declared += [f"{name}: [N, J]", f"{name}_acc: [N, J]"]
        lines.append(f"{name}_acc[n, j] = w[n, k] * y[k, j] :: add(k)")
        lines.append(f"{name}[n, j] = {value.replace('acc', f'{name}_acc')}")
    source = [
        "einsum:",
        "  name: arithmetic",
        f"  shapes: {{I: {POINTS}, N: {CHANNELS}, K: 3, J: 7}}",
        "  declaration: {x: [I], z: [I], y: [K, J], w: [N, K], bias: [N], scale: [N], "
        + ", ".join(declared)
        + "}",
        f"  types: {{{codes}, {integers}, bias: int32}}",
        "  inputs: [x, z, y]",
        f"  outputs: [{', '.join(outputs)}]",
        "  weights: [w, bias, scale]",
        "  expressions: |",
        *(f"    {line}" for line in lines),
    ]
    rng = np.random.default_rng(3)
    signs = np.where(rng.random(CHANNELS) < 0.5, 1, -1)
    data: dict[str, Array] = {
        "w": rng.integers(-128, 128, (CHANNELS, 3)).astype(np.int8),
        "bias": (signs * rng.integers(1 << 24, 1 << 26, CHANNELS)).astype(np.int32),
        "scale": rng.uniform(0.5, 2.0, CHANNELS).astype(np.float32),
    }
    return text.loads("\n".join(source) + "\n", data=data)
