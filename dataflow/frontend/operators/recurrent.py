"""LSTM, GRU and RNN as loops over time with carried states."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from dataflow.frontend.context import Context, UnsupportedError
from dataflow.frontend.functions import FUNCTIONS, Function
from dataflow.frontend.lowering import Lowering, Operand
from dataflow.frontend.onnx.graph import Node
from dataflow.frontend.operators.recurrence import Pass, Recurrence, direction, outputs, read
from dataflow.ir.affine import Affine
from dataflow.ir.expr import Access, Expr, call

Apply = Callable[[Expr], Expr]

ALPHA = {
    "Affine": 1.0,
    "LeakyRelu": 0.01,
    "ThresholdedRelu": 1.0,
    "ScaledTanh": 1.0,
    "HardSigmoid": 0.2,
    "Elu": 1.0,
}
BETA = {"Affine": 0.0, "ScaledTanh": 1.0, "HardSigmoid": 0.5}
"""Activations with parameters, and the defaults of these."""

ACTIVATIONS = {
    name.lower(): name for name in (*ALPHA, "Relu", "Sigmoid", "Tanh", "Softsign", "Softplus")
}


def lstm(ctx: Context, node: Node) -> None:
    """LSTM with peepholes, coupled gates, clipping and sequence lengths; gates i, o, f, c.

    i = f(Z0 + P0 * C), f = f(Z2 + P2 * C), C' = f * C + i * g(Z3), o = f(Z1 + P1 * C'),
    H' = o * h(C') with Z = X * W + H * R + B.
    """
    low = Lowering(ctx, node)
    cell = read(low, 4)
    peephole = low.optional(7)
    clipped = _clip(node, cell)
    passes = []
    for number, (sigma, g, h) in enumerate(_functions(node, cell, ["Sigmoid", "Tanh", "Tanh"])):
        with direction(cell, number, [5, 6]) as p:
            passes.append(p)
            product = p.product("recurrent", p.before(0, p.k), range(4))
            total = _Totals(p, product, peephole, clipped)
            old = p.before(1, p.h)
            i = p.let("in", sigma(total(0, 0, old)))
            coupled = bool(node.get("input_forget", 0))
            keep = call("sub", cell.number(1), i) if coupled else sigma(total(2, 2, old))
            f = p.let("forget", keep)
            c = p.let("candidate", g(total(3)))
            new = p.let("memory", call("add", call("mul", f, old), call("mul", i, c)))
            p.update(1, new)
            o = p.let("out", sigma(total(1, 1, new)))
            p.update(0, call("mul", o, h(new)))
    outputs(cell, passes)


class _Totals:
    """The clipped inputs of an LSTM's gates."""

    def __init__(self, p: Pass, product: Operand, peephole: Operand | None, clipped: Apply) -> None:
        self.p, self.product, self.peephole, self.clipped = p, product, peephole, clipped

    def __call__(self, gate: int, peep: int = 0, memory: Expr | None = None) -> Expr:
        p = self.p
        found = call("add", p.input(gate), self.product.at(p.b, gate, p.h))
        if self.peephole is not None and memory is not None:
            weight = self.peephole.at(p.number, Affine.of(p.h, peep * p.cell.hidden))
            found = call("add", found, call("mul", weight, memory))
        return self.clipped(found)


def gru(ctx: Context, node: Node) -> None:
    """GRU; gates z, r, h.

    z, r = f(X * W + H * R + B); n = g(X * Wh + (r * H) * Rh + Bh), or with linear_before_reset
    n = g(X * Wh + r * (H * Rh + Rbh) + Wbh); H' = (1 - z) * n + z * H.
    """
    low = Lowering(ctx, node)
    linear = bool(node.get("linear_before_reset", 0))
    cell = read(low, 3, apart=2 if linear else None)
    bias = low.optional(3)
    clipped = _clip(node, cell)
    passes = []
    for number, (sigma, g) in enumerate(_functions(node, cell, ["Sigmoid", "Tanh"])):
        with direction(cell, number, [5]) as p:
            passes.append(p)
            old = p.before(0, p.h)
            first = p.product("recurrent", p.before(0, p.k), range(3 if linear else 2))
            sums = [call("add", p.input(k), first.at(p.b, k, p.h)) for k in range(2)]
            z = p.let("update", sigma(clipped(sums[0])))
            r = p.let("reset", sigma(clipped(sums[1])))
            if linear:
                inner = first.at(p.b, 2, p.h)
                if bias is not None:
                    inner = call("add", inner, bias.at(number, Affine.of(p.h, 5 * cell.hidden)))
                inner = call("mul", r, inner)
            else:
                kept = p.let("kept", call("mul", r, old))
                assert isinstance(kept, Access)
                state = Access(kept.tensor, (Affine.of(p.b), Affine.of(p.k)))
                inner = p.product("candidate", state, range(2, 3)).at(p.b, 0, p.h)
            new = p.let("new", g(clipped(call("add", p.input(2), inner))))
            share = call("mul", call("sub", cell.number(1), z), new)
            p.update(0, call("add", share, call("mul", z, old)))
    outputs(cell, passes)


def rnn(ctx: Context, node: Node) -> None:
    """RNN: H' = f(X * W + H * R + B)."""
    low = Lowering(ctx, node)
    cell = read(low, 1)
    clipped = _clip(node, cell)
    passes = []
    for number, (f,) in enumerate(_functions(node, cell, ["Tanh"])):
        with direction(cell, number, [5]) as p:
            passes.append(p)
            product = p.product("recurrent", p.before(0, p.k), range(1))
            total = call("add", p.input(0), product.at(p.b, 0, p.h))
            p.update(0, f(p.let("total", clipped(total))))
    outputs(cell, passes)


def _functions(node: Node, cell: Recurrence, default: Sequence[str]) -> list[list[Apply]]:
    """The activations of each direction; their parameters are taken from the lists in order."""
    count = len(cell.backward) * len(default)
    names = [str(_text(n)) for n in node.get("activations", ())] or list(default) * len(
        cell.backward
    )
    if len(names) != count:
        raise UnsupportedError(f"it names {len(names)} activations, not {count}", "repair it")
    alphas = [float(v) for v in node.get("activation_alpha", ())]
    betas = [float(v) for v in node.get("activation_beta", ())]
    found = []
    for given in names:
        name = ACTIVATIONS.get(given.lower())
        if name is None:
            raise UnsupportedError(f"its activation is {given!r}", f"use {sorted(ACTIVATIONS)}")
        own = {}
        if name in ALPHA:
            own["alpha"] = alphas.pop(0) if alphas else ALPHA[name]
        if name in BETA:
            own["beta"] = betas.pop(0) if betas else BETA[name]
        found.append(_function(name, Function(own, cell.dtype)))
    return [found[k : k + len(default)] for k in range(0, count, len(default))]


def _text(value: object) -> object:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def _function(name: str, f: Function) -> Apply:
    def apply(x: Expr) -> Expr:
        if name == "Tanh":
            return call("tanh", x)
        if name in FUNCTIONS:
            return FUNCTIONS[name](f, x)
        alpha, beta = f.attribute("alpha", 1.0), f.attribute("beta", 0.0)
        if name == "Affine":
            return call("add", call("mul", alpha, x), beta)
        return call("mul", alpha, call("tanh", call("mul", beta, x)))

    return apply


def _clip(node: Node, cell: Recurrence) -> Apply:
    """What the attribute ``clip`` does to the input of an activation."""
    limit = node.get("clip", None)
    if limit is None:
        return lambda expr: expr
    bound = float(limit)
    return lambda expr: call("clip", expr, cell.number(-bound), cell.number(bound))


LOWERINGS = {("", "LSTM"): lstm, ("", "GRU"): gru, ("", "RNN"): rnn}
