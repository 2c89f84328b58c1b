"""Registers and dependency marks of micro-programs, by running them on a slow machine."""

from __future__ import annotations

import random

import pytest

from dataflow.layers.layer import MicroOp, MicroProgram
from dataflow.lower.assemble import Code, Node, Result, assemble
from dataflow.lower.refusal import CannotFuse
from dataflow.machine.isa import Op, Operand

WINDOW = 3


def meaning(code: Code, result: int) -> int:
    """The integer that the nodes compute over a window of ones, twos and threes."""
    values: dict[int, int] = {}

    def read(ref: object, step: int) -> int:
        return values.get(ref.node, 0) if isinstance(ref, Result) else step

    for step in range(1, WINDOW + 1):
        for i in range(code.body):
            values[i] = read(code.nodes[i].a, step) + read(code.nodes[i].b, step)
    for i in range(code.body, len(code.nodes)):
        values[i] = read(code.nodes[i].a, 0) + read(code.nodes[i].b, 0)
    return values[result]


def run(micro: MicroProgram) -> int:
    """The same by registers that hold what was written only after a marked operation begins."""
    registers = dict.fromkeys(range(4), 0)
    pending: dict[int, int] = {}
    result = 0

    def read(ref: int, step: int) -> int:
        if ref <= Operand.R3:
            assert ref not in pending, "read before it is written"
            return registers[ref]
        return step

    def step_of(op: MicroOp, step: int) -> None:
        nonlocal result
        if op.depends:
            registers.update(pending)
            pending.clear()
        value = read(int(op.a), step) + read(int(op.b), step)
        if op.dst is not None:
            pending[op.dst] = value
        if op.sink:
            result = value

    for step in range(1, WINDOW + 1):
        for op in micro.body:
            step_of(op, step)
    for op in micro.final:
        step_of(op, 0)
    return result


@pytest.mark.parametrize("seed", range(300))
def test_random_programs_compute_what_their_nodes_say(seed: int) -> None:
    rng = random.Random(seed)
    code = Code()
    for i in range(rng.randrange(1, 9)):
        a = Result(rng.randrange(i)) if i and rng.random() < 0.6 else Operand.S0
        b = Result(rng.randrange(i)) if i and rng.random() < 0.6 else Operand.S0
        code.add(Node(Op.IADD, a, b))
    if rng.random() < 0.6:
        code.body = rng.randrange(1, len(code.nodes) + 1)
        i = rng.randrange(code.body)
        code.nodes[i] = Node(Op.IADD, Operand.S0, Result(i))  # an accumulation
    last = len(code.nodes) - 1
    try:
        micro = assemble(code, Result(last), None)
    except CannotFuse:
        return  # too many registers: refused, not wrong
    assert run(micro) == meaning(code, last)


def test_four_values_at_once_fit_and_five_do_not() -> None:
    for count, fits in ((4, True), (5, False)):
        code = Code()
        values = [code.add(Node(Op.IADD, Operand.S0, Operand.S0)) for _ in range(count)]
        total = values[0]
        for value in values[1:]:
            total = code.add(Node(Op.IADD, total, value))
        if fits:
            assert assemble(code, total, None).final[-1].sink
        else:
            with pytest.raises(CannotFuse, match="more than 4 values"):
                assemble(code, total, None)
