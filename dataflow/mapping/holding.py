"""What a node of an Architecture may and must hold."""

from __future__ import annotations

from dataflow.arch import Compute, FanOut, Memory
from dataflow.arch.tree import Node
from dataflow.mapping.workload import Operand


def can_hold(node: Node | None) -> bool:
    """Whether tensors can be held at a node: memories, lanes that shift, units with registers."""
    match node:
        case Memory():
            return True
        case FanOut():
            return bool(node.shifts)
        case Compute():
            return bool(node.keeps)
    return False


def may_hold(node: Node, operand: Operand) -> bool:
    """Whether a node may hold an operand: by its role, and unless ``bypass`` matches it.

    Memories hold what ``may_hold`` says, fan-outs what they ``shifts``, units what they ``keeps``.
    """
    roles = {operand.role, *(("intermediate",) if operand.intermediate else ())}
    if operand.role == "output":
        roles.add("partial")
    if operand.role == "weight":
        roles.add("parameter")
    match node:
        case Memory():
            return bool(roles & set(node.may_hold)) and not node.bypass.matches(operand.tags)
        case FanOut():
            return bool(roles & set(node.shifts))
        case Compute():
            return bool(roles & set(node.keeps))


def must_hold(memory: Memory, operand: Operand, *, root: bool) -> bool:
    """Whether a memory has to hold an operand.

    ``input``, ``weight`` and ``output`` mean the place in the Einsum. At the root they mean what
    enters or leaves the machine, as an intermediate need not exist off chip.
    """
    if operand.intermediate:
        listed = "intermediate" in memory.must_hold
        if not root:
            listed = listed or operand.role in memory.must_hold
    else:
        listed = operand.role in memory.must_hold
    return listed or memory.keep.matches(operand.tags)
