"""Operations of a micro-program before and after they have registers."""

from __future__ import annotations

from dataclasses import dataclass, field

from dataflow.evaluate.functions import Function
from dataflow.layers.layer import MicroOp, MicroProgram
from dataflow.lower.refusal import CannotFuse
from dataflow.machine.isa import Op, Operand

REGISTERS = 4
CONSTANTS = 8
MAX_OPS = 63
"""Largest value of the instruction's operation counts."""


@dataclass(frozen=True)
class Result:
    """The result of node number ``node`` as an operand."""

    node: int


Ref = int | Result
"""An operand selector (`isa.Operand`, or K0 + i), or the result of an earlier node."""


@dataclass(frozen=True)
class Node:
    """An operation whose operands may be results of earlier nodes; fields as `MicroOp`."""

    op: Op
    a: Ref = Operand.ZERO
    b: Ref = Operand.ZERO
    c: Ref = Operand.ZERO
    a_float: bool = False
    b_float: bool = False
    a_negate: bool = False
    b_negate: bool = False
    c_negate: bool = False
    to_int: tuple[int, int, int] | None = None
    first_b: bool = False
    function: Function = Function.IDENTITY

    @property
    def reads(self) -> tuple[int, ...]:
        """Nodes whose results it uses."""
        return tuple(r.node for r in (self.a, self.b, self.c) if isinstance(r, Result))


@dataclass
class Code:
    """Nodes in execution order and the constants that they name.

    Attributes:
        nodes: all operations.
        body: how many of them, from the start, are repeated for each window position.
        constants: bit patterns of K0, K1, ...
    """

    nodes: list[Node] = field(default_factory=list)
    body: int = 0
    constants: list[int] = field(default_factory=list)

    def add(self, node: Node) -> Result:
        """Appends a node."""
        self.nodes.append(node)
        return Result(len(self.nodes) - 1)

    def constant(self, bits: int) -> int:
        """The selector of a 32-bit constant."""
        if bits not in self.constants:
            if len(self.constants) == CONSTANTS:
                raise CannotFuse(
                    "its expression needs more than eight constants",
                    "quantise between its steps, so that each is a layer",
                )
            self.constants.append(bits)
        return int(Operand.K0) + self.constants.index(bits)


def assemble(code: Code, result: Result, table: bytes | None) -> MicroProgram:
    """Registers, dependency marks and the sink for the nodes of ``code``.

    ``result`` goes to the sink; a node of the body whose result is read after the body, or by
    itself (an accumulation), keeps its register through all repetitions.

    Raises CannotFuse when registers or operation counts do not suffice.
    """
    nodes = code.nodes
    if max(code.body, len(nodes) - code.body) > MAX_OPS:
        raise CannotFuse(
            f"its expression takes {len(nodes)} operations, more than {MAX_OPS} a program",
            "quantise in the middle of the expression",
        )
    last_read = {r: i for i, node in enumerate(nodes) for r in node.reads}
    kept = {
        r
        for i, node in enumerate(nodes)
        for r in node.reads
        if r < code.body and (i >= code.body or r >= i)
    }
    place: dict[int, int] = {}
    busy: dict[int, int] = {}  # register -> node that it holds
    for keeper in sorted(kept):
        place[keeper] = len(busy)
        busy[place[keeper]] = keeper
    if len(busy) > REGISTERS:
        raise CannotFuse(
            f"its window keeps {len(busy)} values from point to point; a lane has {REGISTERS}",
            "reduce fewer quantities at once",
        )
    for i in range(len(nodes)):
        for register, node in list(busy.items()):
            done = last_read.get(node, node) <= i
            if done and (node not in kept or i >= code.body) and node != i:
                del busy[register]
        if i in place or i not in last_read:
            continue
        free = [r for r in range(REGISTERS) if r not in busy]
        if not free:
            raise CannotFuse(
                f"its expression has more than {REGISTERS} values alive at once",
                "quantise one of the operands before it is used",
            )
        place[i] = free[0]
        busy[free[0]] = i
    marks = _dependencies(nodes, code.body)
    ops = tuple(
        _micro_op(node, place, place.get(i), i == result.node, marks[i])
        for i, node in enumerate(nodes)
    )
    return MicroProgram((), ops[: code.body], ops[code.body :], tuple(code.constants), table)


def _dependencies(nodes: list[Node], body: int) -> list[bool]:
    """Which operations must wait for earlier results in a short strip.

    A marked operation starts when all operations before it are done; a read needs a mark unless
    one stands behind the write. Twice through the body, for the step from its end to its start.
    """
    marks = [False] * len(nodes)
    order = [*range(body), *range(body), *range(body, len(nodes))]
    written: dict[int, int] = {}
    barrier = -1
    for time, i in enumerate(order):
        if any(written.get(r, -1) >= max(barrier, 0) for r in nodes[i].reads):
            marks[i] = True
        if marks[i]:
            barrier = time
        written[i] = time
    return marks


def _micro_op(
    node: Node, place: dict[int, int], dst: int | None, sink: bool, depends: bool
) -> MicroOp:
    def selector(ref: Ref) -> int:
        return place[ref.node] if isinstance(ref, Result) else int(ref)

    return MicroOp(
        node.op,
        selector(node.a),
        selector(node.b),
        selector(node.c),
        node.a_float,
        node.b_float,
        node.a_negate,
        node.b_negate,
        node.c_negate,
        node.to_int,
        dst,
        sink,
        node.first_b,
        depends,
        node.function,
    )
