"""Cascades with dependent reductions over one rank, none of them known to the rewriter."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from dataflow.evaluate import evaluate
from dataflow.ir import Cascade, text
from dataflow.rewrite import with_float64

Array = np.ndarray


def source(shapes: str, declaration: str, body: str) -> str:
    """The text of a cascade."""
    lines = "".join(f"    {line.strip()}\n" for line in body.strip().split("\n"))
    return f"einsum:\n  shapes: {shapes}\n  declaration: {declaration}\n  expressions: |\n{lines}"


def wide(text_form: str) -> Cascade:
    """The cascade in float64."""
    return with_float64(text.loads(text_form))


def run(cascade: Cascade, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """Outputs; invalid operations (fully masked rows) are meant."""
    with np.errstate(all="ignore"):
        return evaluate(cascade, inputs)


def draw(cascade: Cascade, seed: int, shift: float = 0.0) -> dict[str, Array]:
    """Standard normal inputs; X moved by ``shift``, T made positive, MA uniform."""
    rng = np.random.default_rng(seed)
    made = {}
    for name in cascade.inputs:
        values = rng.standard_normal(cascade.tensors[name].shape)
        if name == "T":
            values = np.abs(values) + 0.5
        if name == "MA":
            values = rng.random(values.shape)
        made[name] = values + shift if name == "X" else values
    return made


ATTENTION = ("{E: 4, F: 5, M: 24, P: 3}", "{Q: [E, P], K: [E, M], V: [F, M], AV: [F, P]}")
ROWS = ("{B: 2, C: 24}", "{X: [B, C], Z: [B, C], Y: [B]}")

CORPUS: dict[str, str] = {
    "three_pass": source(
        *ATTENTION,
        """QK[m, p] = Q[e, p] * K[e, m]
        GM[p]    = QK[m, p] :: max(m)
        SN[m, p] = sub_exp(QK[m, p], GM[p])
        SD[p]    = SN[m, p]
        A[m, p]  = SN[m, p] / SD[p]
        AV[f, p] = A[m, p] * V[f, m]""",
    ),
    "naive softmax": source(
        *ATTENTION,
        """QK[m, p] = Q[e, p] * K[e, m]
        SN[m, p] = exp(QK[m, p])
        SD[p]    = SN[m, p]
        A[m, p]  = SN[m, p] / SD[p]
        AV[f, p] = A[m, p] * V[f, m]""",
    ),
    "causal, scaled, softcap": source(
        "{E: 4, F: 5, M: 24, P: 24}",
        ATTENTION[1],
        """QK[m, p] = Q[e, p] * K[e, m]
        SC[m, p] = 5 * tanh(QK[m, p] * 0.35 / 5)
        MS[m, p] = where(less_equal(index(m), index(p)), SC[m, p], -inf)
        GM[p]    = MS[m, p] :: max(m)
        SN[m, p] = exp(MS[m, p] - GM[p])
        SD[p]    = SN[m, p]
        A[m, p]  = SN[m, p] / SD[p]
        AV[f, p] = A[m, p] * V[f, m]""",
    ),
    "sigmoid logits": source(
        *ATTENTION,
        """QK[m, p] = Q[e, p] * K[e, m]
        SG[m, p] = 1 / (1 + exp(0 - QK[m, p]))
        GM[p]    = SG[m, p] :: max(m)
        SN[m, p] = exp(SG[m, p] - GM[p])
        SD[p]    = SN[m, p]
        AV[f, p] = SN[m, p] * V[f, m] / SD[p] :: add(m)""",
    ),
    "one maximum for all queries": source(
        *ATTENTION,
        """QK[m, p] = Q[e, p] * K[e, m]
        GM       = QK[m, p] :: max(m, p)
        SN[m, p] = sub_exp(QK[m, p], GM)
        SD[p]    = SN[m, p]
        AV[f, p] = SN[m, p] * V[f, m] / SD[p]""",
    ),
    "mask after the maximum": source(
        ATTENTION[0],
        "{Q: [E, P], K: [E, M], V: [F, M], MA: [M, P], AV: [F, P]}",
        """QK[m, p] = Q[e, p] * K[e, m]
        GM[p]    = QK[m, p] :: max(m)
        SN[m, p] = where(less(MA[m, p], 0.5), sub_exp(QK[m, p], GM[p]), 0)
        SD[p]    = SN[m, p]
        A[m, p]  = SN[m, p] / SD[p]
        AV[f, p] = A[m, p] * V[f, m]""",
    ),
    "mask in the exponent": source(
        ATTENTION[0],
        "{Q: [E, P], K: [E, M], V: [F, M], MA: [M, P], AV: [F, P]}",
        """QK[m, p] = Q[e, p] * K[e, m]
        GM[p]    = QK[m, p] :: max(m)
        SN[m, p] = exp(where(less(MA[m, p], 0.5), QK[m, p] - GM[p], -inf))
        SD[p]    = SN[m, p]
        AV[f, p] = SN[m, p] * V[f, m] / SD[p]""",
    ),
    "temperature of each row": source(
        "{B: 2, C: 24}",
        "{X: [B, C], T: [B], Y: [B]}",
        """G[b] = X[b, c] :: max(c)
        N[b, c] = exp((X[b, c] - G[b]) / T[b])
        D[b] = N[b, c]
        Y[b] = N[b, c] / D[b] * X[b, c]""",
    ),
    "max-weighted average": source(
        *ROWS,
        """G[b] = X[b, c] :: max(c)
        W[b, c] = exp(2 * X[b, c] - 2 * G[b])
        S[b] = W[b, c]
        Y[b] = W[b, c] * Z[b, c] / S[b] :: add(c)""",
    ),
    "softmin": source(
        *ROWS,
        """G[b] = X[b, c] :: min(c)
        N[b, c] = exp(G[b] - X[b, c])
        S[b] = N[b, c]
        Y[b] = N[b, c] / S[b] * Z[b, c] :: add(c)""",
    ),
    "log-sum-exp": source(
        "{B: 2, C: 24}",
        "{X: [B, C], Y: [B]}",
        """G[b] = X[b, c] :: max(c)
        S[b] = exp(X[b, c] - G[b])
        Y[b] = log(S[b]) + G[b]""",
    ),
    "cross entropy": source(
        *ROWS,
        """G[b] = X[b, c] :: max(c)
        S[b] = exp(X[b, c] - G[b])
        L[b] = log(S[b])
        P[b, c] = X[b, c] - G[b] - L[b]
        Y[b] = 0 - Z[b, c] * P[b, c] :: add(c)""",
    ),
    "cross entropy by log-sum-exp": source(
        *ROWS,
        """G[b] = X[b, c] :: max(c)
        S[b] = exp(X[b, c] - G[b])
        L[b] = log(S[b]) + G[b]
        Y[b] = Z[b, c] * (X[b, c] - L[b]) :: add(c)""",
    ),
    "logarithm of softmax": source(
        *ROWS,
        """G[b] = X[b, c] :: max(c)
        N[b, c] = exp(X[b, c] - G[b])
        S[b] = N[b, c]
        A[b, c] = N[b, c] / S[b]
        Y[b] = Z[b, c] * log(A[b, c]) :: add(c)""",
    ),
    "entropy of softmax": source(
        "{B: 2, C: 24}",
        "{X: [B, C], Y: [B]}",
        """G[b] = X[b, c] :: max(c)
        N[b, c] = exp(X[b, c] - G[b])
        S[b] = N[b, c]
        P[b, c] = X[b, c] - G[b] - log(S[b])
        Y[b] = N[b, c] / S[b] * P[b, c] :: add(c)""",
    ),
    "largest probability": source(
        "{B: 2, C: 24}",
        "{X: [B, C], Y: [B]}",
        """G[b] = X[b, c] :: max(c)
        N[b, c] = exp(X[b, c] - G[b])
        S[b] = N[b, c]
        A[b, c] = N[b, c] / S[b]
        Y[b] = A[b, c] :: max(c)""",
    ),
    "variance under softmax": source(
        *ROWS,
        """G[b] = X[b, c] :: max(c)
        N[b, c] = exp(X[b, c] - G[b])
        S[b] = N[b, c]
        A[b, c] = N[b, c] / S[b]
        MU[b] = A[b, c] * Z[b, c]
        Y[b] = A[b, c] * pow(Z[b, c] - MU[b], 2)""",
    ),
    "exponential of deviations": source(
        "{B: 2, C: 24}",
        "{X: [B, C], Y: [B]}",
        """MU[b] = X[b, c] / 24
        Y[b] = exp(X[b, c] - MU[b]) :: add(c)""",
    ),
    "variance": source(
        "{B: 2, C: 24}",
        "{X: [B, C], Y: [B]}",
        """MU[b] = X[b, c] / 24
        Y[b] = (X[b, c] - MU[b]) * (X[b, c] - MU[b]) / 23""",
    ),
    "third moment": source(
        "{B: 2, C: 24}",
        "{X: [B, C], Y: [B]}",
        """MU[b] = X[b, c] / 24
        Y[b] = pow(X[b, c] - MU[b], 3) / 24""",
    ),
    "covariance": source(
        *ROWS,
        """MX[b] = X[b, c] / 24
        MZ[b] = Z[b, c] / 24
        Y[b] = (X[b, c] - MX[b]) * (Z[b, c] - MZ[b]) / 23""",
    ),
    "largest deviation": source(
        "{B: 2, C: 24}",
        "{X: [B, C], Y: [B]}",
        """MU[b] = X[b, c] / 24
        Y[b] = X[b, c] - MU[b] :: max(c)""",
    ),
    "instance norm statistics": source(
        "{B: 2, C: 3, H: 8, W: 6}",
        "{X: [B, C, H, W], Y: [B, C]}",
        """MU[b, c] = X[b, c, h, w] / 48
        Y[b, c] = (X[b, c, h, w] - MU[b, c]) * (X[b, c, h, w] - MU[b, c])""",
    ),
    "layer norm": source(
        "{B: 2, C: 24}",
        "{X: [B, C], G: [C], H: [C], Y: [B, C]}",
        """MU[b] = X[b, c] / 24
        Q[b] = (X[b, c] - MU[b]) * (X[b, c] - MU[b]) / 24
        R[b] = 1 / sqrt(Q[b] + 0.00001)
        Y[b, c] = (X[b, c] - MU[b]) * R[b] * G[c] + H[c]""",
    ),
    "layer norm, then a product": source(
        "{B: 2, C: 24, N: 5}",
        "{X: [B, C], W: [C, N], G: [C], H: [C], Y: [B, N]}",
        """S[b] = X[b, c]
        MU[b] = S[b] * 0.041666668
        D[b, c] = X[b, c] - MU[b]
        Q[b] = D[b, c] * D[b, c]
        VA[b] = Q[b] / 24
        R[b] = 1 / sqrt(VA[b] + 0.00001)
        L[b, c] = D[b, c] * R[b] * G[c] + H[c]
        Y[b, n] = L[b, c] * W[c, n]""",
    ),
    "RMS norm, then a product": source(
        "{B: 2, C: 24, N: 5}",
        "{X: [B, C], W: [C, N], G: [C], Y: [B, N]}",
        """S[b] = X[b, c] * X[b, c]
        R[b] = 1 / sqrt(S[b] / 24 + 0.00001)
        L[b, c] = X[b, c] * R[b] * G[c]
        Y[b, n] = L[b, c] * W[c, n]""",
    ),
    "norm of each pixel, then a strided window": source(
        "{B: 2, C: 6, P: 3, R: 2, N: 4}",
        "{X: [B, C, H], W: [N, C, R], Y: [B, N, P]}",
        """MU[b, h] = X[b, c, h] / 6
        L[b, c, h] = (X[b, c, h] - MU[b, h]) * 2
        Y[b, n, p] = L[b, c, 2*p + r] * W[n, c, r]""",
    ).replace("N: 4}", "N: 4, H: 6}"),
    "cosine similarity": source(
        *ROWS,
        """NX[b] = X[b, c] * X[b, c]
        NZ[b] = Z[b, c] * Z[b, c]
        U[b, c] = X[b, c] / max(sqrt(NX[b]), 0.00000001)
        W[b, c] = Z[b, c] / max(sqrt(NZ[b]), 0.00000001)
        Y[b] = U[b, c] * W[b, c]""",
    ),
    "shares of a sum": source(
        "{B: 2, C: 24, N: 3}",
        "{T: [B, C], W: [C, N], Y: [B, N]}",
        """S[b] = T[b, c]
        Y[b, n] = (T[b, c] / S[b] - 0.041666668) * W[c, n]""",
    ),
}

STILL_TWICE = {"layer norm": 2}
"""Pass counts over X where an output carries the rank itself; all others come down to one."""

FIBRES = {"instance norm statistics": "H"}
"""The walked rank of X where it is not C."""


def sized(name: str, size: int) -> str:
    """A cascade of the corpus with another length of the walked rank."""
    lines = CORPUS[name]
    share = str(np.float32(1 / size))
    changes = [("24", str(size)), ("0.041666668", share)]
    if name == "instance norm statistics":
        changes = [("H: 8", f"H: {size}"), ("48", str(size * 6))]
    elif name == "norm of each pixel, then a strided window":
        changes = [("C: 6", f"C: {size}"), ("/ 6", f"/ {size}")]
    for old, new in changes:
        lines = lines.replace(old, new)
    return lines


SHIFTABLE = tuple(n for n in CORPUS if "naive" not in n and "X:" in CORPUS[n])
"""Cascades whose result does not overflow when X is moved far from 0."""
