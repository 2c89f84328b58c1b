"""What is searched: the workloads of the stored peer values and their names there."""

from __future__ import annotations

from dataclasses import dataclass

from dataflow import mapping as mp
from dataflow.ir.text import loads

BITS = "{bits: 8}"
WEIGHT = "{bits: 8, role: weight}"


@dataclass(frozen=True)
class Case:
    """A workload: its name in the peers' table (or ours), the machines, whether factors divide."""

    name: str
    text: str
    machines: tuple[str, ...]

    def work(self) -> mp.Work:
        """Its only Einsum."""
        (work,) = mp.workload_of(loads(self.text)).works
        return work


def matmul(size: int) -> str:
    """A square matrix product of 8-bit values."""
    return f"""einsum:
  name: matmul_{size}
  shapes: {{M: {size}, N: {size}, K: {size}}}
  declaration: {{A: [M, K], B: [K, N]}}
  types: {{A: int8, B: int8, C: int32}}
  expressions: |
    C[m, n] = A[m, k] * B[k, n]
format: {{A: {BITS}, B: {WEIGHT}, C: {BITS}}}
"""


def chain(many: int, size: int) -> str:
    """Square matrix products of 8-bit values, each one's result the next one's left factor."""
    ranks = ["M", *(f"N{i}" for i in range(many + 1))]
    shapes = ", ".join(f"{rank}: {size}" for rank in ranks)
    declared = ", ".join(f"W{i}: [N{i}, N{i + 1}]" for i in range(many))
    tensors = [f"T{i}" for i in range(many + 1)]
    types = ", ".join(f"{t}: int8" for t in ("T0", *(f"W{i}" for i in range(many))))
    sums = ", ".join(f"{t}: int32" for t in tensors[1:])
    lines = "".join(
        f"    T{i + 1}[m, n{i + 1}] = T{i}[m, n{i}] * W{i}[n{i}, n{i + 1}]\n" for i in range(many)
    )
    formats = ", ".join(
        [*(f"{t}: {BITS}" for t in tensors), *(f"W{i}: {WEIGHT}" for i in range(many))]
    )
    return f"""einsum:
  name: matmul_chain{many}_{size}
  shapes: {{{shapes}}}
  declaration: {{T0: [M, N0], {declared}}}
  types: {{{types}, {sums}}}
  expressions: |
{lines}format: {{{formats}}}
"""


def convolution(side: int, channels: int) -> str:
    """A 3x3 convolution without padding, as many channels in as out."""
    return f"""einsum:
  name: convolution
  shapes: {{M: {channels}, C: {channels}, P: {side}, Q: {side}, R: 3, S: 3,
    H: {side + 2}, W: {side + 2}}}
  declaration: {{I: [C, H, W], F: [M, C, R, S]}}
  types: {{I: int8, F: int8, O: int32}}
  expressions: |
    O[m, p, q] = I[c, p + r, q + s] * F[m, c, r, s]
format: {{I: {BITS}, F: {WEIGHT}, O: {BITS}}}
"""


def gpt3_decode(tokens: int, functions: bool) -> str:
    """A layer of GPT-3 6.7B that makes one token with this many keys and values in its cache.

    Without ``functions`` (machines that have only multiply-accumulate) it is the products alone.
    """
    names = ["X", "Q", "K", "V", "S", "Y", "Z", "U", "F"]
    softmax, relu = "", ""
    if functions:
        names += ["P", "N", "D", "A", "G"]
        softmax = """    P[h] = S[h, n] :: max(n)
    N[h, n] = sub_exp(S[h, n], P[h])
    D[h] = N[h, n]
    A[h, n] = N[h, n] / D[h]
"""
        relu = "    G[j] = max(U[j], 0)\n"
    scores, hidden = ("A", "G") if functions else ("S", "U")
    weights = ("WQ", "WO", "W1", "W2")
    formats = ", ".join([*(f"{n}: {BITS}" for n in names), *(f"{n}: {WEIGHT}" for n in weights)])
    return f"""einsum:
  name: gpt3_6.7B
  shapes: {{H: 32, E: 128, D: 4096, O: 4096, L: 4096, N: {tokens}, J: 16384}}
  declaration: {{X: [D], WQ: [D, H, E], K: [H, N, E], V: [H, N, E], WO: [H, E, O], W1: [O, J],
    W2: [J, L]}}
  expressions: |
    Q[h, e] = X[d] * WQ[d, h, e]
    S[h, n] = Q[h, e] * K[h, n, e]
{softmax}    Y[h, e] = {scores}[h, n] * V[h, n, e]
    Z[o] = Y[h, e] * WO[h, e, o]
    U[j] = Z[o] * W1[o, j]
{relu}    F[l] = {hidden}[j] * W2[j, l]
format: {{{formats}}}
"""


def gpt3_peer(tokens: int) -> str:
    """The layer as AccelForge's `gpt3_6.7B_kv_cache` has it: softmax is one pass over the scores,
    and the new keys and values are made beside. Its copy of the input is left out."""
    weights = ("WV", "WK", "WQ", "K", "V", "WZ", "WFFA", "WFFB")
    names = ("I", "V_new", "K_new", "Q_new", "QK", "S", "AV", "Z", "FFA", "FFB")
    formats = ", ".join([*(f"{n}: {BITS}" for n in names), *(f"{n}: {WEIGHT}" for n in weights)])
    return f"""einsum:
  name: gpt3_6.7B_kv_cache
  shapes: {{H: 32, E: 128, F: 128, D: 4096, G: 4096, J: 4096, N: {tokens}, C: 16384}}
  declaration: {{I: [D], WV: [H, E, D], WK: [H, E, D], WQ: [H, E, D], K: [N, H, E], V: [N, H, F],
    WZ: [H, F, G], WFFA: [G, C], WFFB: [C, J]}}
  expressions: |
    V_new[h, e] = I[d] * WV[h, e, d]
    K_new[h, e] = I[d] * WK[h, e, d]
    Q_new[h, e] = I[d] * WQ[h, e, d]
    QK[n, h] = Q_new[h, e] * K[n, h, e]
    S[n, h] = QK[n, h]
    AV[h, f] = S[n, h] * V[n, h, f]
    Z[g] = AV[h, f] * WZ[h, f, g]
    FFA[c] = Z[g] * WFFA[g, c]
    FFB[j] = FFA[c] * WFFB[c, j]
format: {{{formats}}}
"""


THREE = ("simple", "nvdla", "eyeriss")
CASES = (
    Case("matmul_512", matmul(512), THREE),
    Case("matmul_4096", matmul(4096), THREE),
    Case("convolution_56_64", convolution(56, 64), ("eyeriss",)),
)


@dataclass(frozen=True)
class Shape:
    """A convolution, or a product with a vector where all of its windows have one element.

    Attributes:
        name: of the layer.
        outs, ins: channels of a group.
        groups, side, kernel, stride, pad: the output is ``side`` x ``side``.
        height: of the input.
    """

    name: str
    outs: int
    ins: int
    groups: int
    side: int
    kernel: int
    stride: int
    pad: int
    height: int

    def text(self) -> str:
        """8-bit operands and results, 16-bit sums."""
        ranks = {"K": self.outs, "C": self.ins, "H": self.height, "W": self.height}
        ranks |= {"Y": self.side, "X": self.side, "R": self.kernel, "S": self.kernel}
        group = "g, " * (self.groups > 1)
        if group:
            ranks["G"] = self.groups
        first = group.upper()
        back = f" - {self.pad}" if self.pad else ""
        shapes = ", ".join(f"{rank}: {size}" for rank, size in ranks.items())
        rows, columns = (f"{a}*{self.stride} + {b}{back}" for a, b in ("yr", "xs"))
        return f"""einsum:
  name: layer
  shapes: {{{shapes}}}
  declaration: {{I: [{first}C, H, W], F: [{first}K, C, R, S]}}
  types: {{I: int8, F: int8, O: int32}}
  expressions: |
    O[{group}k, y, x] = I[{group}c, {rows}, {columns}] * F[{group}k, c, r, s]
format: {{I: {BITS}, F: {WEIGHT}, O: {BITS}}}
"""

    def workload(self) -> mp.Workload:
        """As one Einsum."""
        return mp.workload_of(loads(self.text()))
