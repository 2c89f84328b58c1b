"""Random numbers for random programs, and random micro-programs with defined results."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from dataflow.evaluate.functions import Function
from dataflow.machine.isa import Op, Operand
from dataflow.machine.machine import Machine
from tests.rtl.vector_model import U32, Fields


@dataclass
class Draw:
    """A source of random numbers for programs of a machine."""

    machine: Machine
    rng: np.random.Generator

    def integers(self, low: int, high: int) -> int:
        """Random integer, both ends included."""
        return int(self.rng.integers(low, high + 1))

    def chance(self, probability: float) -> bool:
        """True with this probability."""
        return bool(self.rng.random() < probability)

    def pick(self, *choices: Any) -> Any:
        """One of them."""
        return choices[self.integers(0, len(choices) - 1)]

    def floats(self, count: int) -> U32:
        """Moderate random floats."""
        real = self.rng.normal(size=count) * 2.0 ** self.rng.integers(-9, 3, count)
        return real.astype(np.float32).view(np.uint32)


@dataclass
class MicroDraw(Draw):
    """Draws micro-programs that read only what is there.

    Attributes:
        param_float: what the parameter lines hold: floats or integers.
    """

    param_float: tuple[bool, bool]

    def draw_ops(self, fields: Fields, first: bool, second: bool) -> tuple[Fields, ...]:
        counts = [self.pick(0, 0, 1, 2), self.pick(0, 1, 1, 2, 4), self.pick(0, 1, 2, 5)]
        if sum(counts) == 0:
            counts[2] = 1
        fields |= dict(zip(("ops_init", "ops_body", "ops_final"), counts, strict=True))
        kinds: dict[int, str] = {Operand.ZERO: "any", Operand.ONE: "float"}
        kinds[Operand.MINUS_ZERO] = "float"
        kinds |= {Operand.K0 + i: "float" if i < 4 else "int" for i in range(8)}
        kinds |= {
            Operand.P0 + i: "float" if self.param_float[i] else "int"
            for i in range(fields["params"])
        }
        if first:
            kinds[Operand.S0] = "int"
        if second:
            kinds[Operand.S1] = "int"
        ops: list[Fields] = []
        for i in range(sum(counts)):
            in_body = counts[0] <= i < counts[0] + counts[1]
            op = self.accumulate(kinds) if in_body and self.chance(0.5) else self.draw_op(kinds)
            if not fields.get("from_acc") and {Operand.S0, Operand.S1} <= set(self.operands(op)):
                op = {"op": Op.MOVE, "a": Operand.S0}
            if op.get("write") or self.chance(0.8):
                op |= {"write": 1, "dst": op.get("dst", self.integers(0, 3))}
                kinds[op["dst"]] = self.result_kind(op, kinds)
            op["sink"] = self.integers(0, 1)
            if not in_body:
                # Means nothing here, but a function must not have it.
                op["first_b"] = 0 if op.get("function") else self.integers(0, 1)
            ops.append(op)
        ops[-1]["sink"] = 1
        self.mark_dependent(ops, counts, fields["window_r"] * fields["window_s"])
        return tuple(ops)

    def operands(self, op: Fields) -> list[int]:
        """Operands that an operation reads, the one of the first repetition included."""
        if op["op"] in (Op.LOOKUP, Op.MOVE) and not op.get("first_b"):
            return [op["a"]]
        return [op.get(k, 0) for k in ("abc" if op["op"] == Op.FMA else "ab")]

    def result_kind(self, op: Fields, kinds: dict[int, str]) -> str:
        if op["op"] in (Op.FMA, Op.FMAX, Op.FMIN):
            return "int" if op.get("to_int") else "float"
        return kinds.get(op["a"], "int") if op["op"] == Op.MOVE else "int"

    def draw_op(self, kinds: dict[int, str]) -> Fields:
        code = self.pick(*Op, Op.FMA, Op.FMA, Op.FMA)
        everything = sorted(kinds)
        whole = [k for k in everything if kinds[k] != "float"]
        real = [k for k in everything if kinds[k] != "int"]
        preferred = [k for k in everything if k < Operand.K0]
        if code in (Op.FMA, Op.FMAX, Op.FMIN):
            op: Fields = {"op": code}
            for name in "ab":
                from_lines = preferred if preferred and self.chance(0.7) else everything
                op[name] = self.pick(*from_lines)
                op[f"{name}_float"] = int(kinds[op[name]] == "int")
                op[f"{name}_negate"] = self.integers(0, 1)
            if op["a_float"] and op["b_float"]:  # a line converts one operand
                op["b"] = op["a"]
            if code is Op.FMA:
                op |= {"c": self.pick(*real), "c_negate": self.integers(0, 1)}
                if self.machine.functions and self.chance(0.3):
                    op["function"] = self.pick(*list(Function)[1:])
                    if op["function"] == Function.EXP2:  # c is its scale
                        op["c"] = self.pick(*whole)
            if self.chance(0.4):
                lo, hi = sorted(self.integers(-512, 511) for _ in range(2))
                op |= {"to_int": 1, "zero": self.integers(-512, 511), "lo": lo, "hi": hi}
            return op
        if code in (Op.LOOKUP, Op.MOVE):
            choice = preferred if preferred and code is Op.MOVE else whole
            return {"op": code, "a": self.pick(*choice)}
        return {"op": code, "a": self.pick(*whole), "b": self.pick(*whole)}

    def accumulate(self, kinds: dict[int, str]) -> Fields:
        """Register dst over the window, begun by operand b."""
        sources = [k for k in sorted(kinds) if Operand.S0 <= k <= Operand.P1 and kinds[k] == "int"]
        if not sources:
            return self.draw_op(kinds)
        dst, b = self.integers(0, 3), self.pick(*sources)
        code = self.pick(Op.IADD, Op.IMAX, Op.IMIN, Op.FMAX, Op.FMIN, Op.FMA)
        op: Fields = {"op": code, "a": dst, "b": b, "first_b": 1, "write": 1, "dst": dst}
        if code in (Op.FMAX, Op.FMIN, Op.FMA):
            op |= {"b_float": 1, "b_negate": self.integers(0, 1)}
        if code is Op.FMA:
            op |= {"a": dst, "c": Operand.K0, "b": Operand.K0 + 1, "b_float": 0}
        return op

    def mark_dependent(self, ops: list[Fields], counts: list[int], window: int) -> None:
        """An operation depends when one of the last latency - 1 executed ones wrote an operand."""
        init, body, final = counts
        order = [
            *range(init),
            *(list(range(init, init + body)) * window),
            *range(init + body, init + body + final),
        ]
        reach = self.machine.vector_latency - 1
        for at, number in enumerate(order):
            before = [ops[i] for i in order[max(0, at - reach) : at]]
            written = {op["dst"] for op in before if op.get("write")}
            if written & set(self.operands(ops[number])):
                ops[number]["depends"] = 1
        for op in ops:
            if self.chance(0.05):
                op["depends"] = 1
