"""Why nothing fits: which memory, which tensor, by how many bytes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from dataflow.arch import Architecture
from dataflow.errors import DataflowError
from dataflow.search.chains import PERFECT
from dataflow.search.problem import Fan, Level, Problem
from dataflow.search.single import frame, search


def diagnosis(
    einsum: str, arch: Architecture, problems: Sequence[Problem], fixed: bool
) -> DataflowError:
    """The error for an Einsum of which no mapping fits."""
    free = "fix less of it, or " if fixed else ""
    for problem in problems:
        for at, part in enumerate(problem.path):
            if isinstance(part, Fan) or part.capacity_bits is None or not at:
                continue
            needed = _least_bits(problem, at)
            if needed is None or needed[0] <= part.capacity_bits:
                continue
            bits, tensor, share = needed
            short = -(-(bits - part.capacity_bits) // 8)
            return DataflowError(
                f"{arch.source}: nodes.{part.name}",
                f"{einsum} needs {_bytes(bits)} there at least, {_bytes(share)} of them for "
                f"{tensor}, and it has {_bytes(part.capacity_bits)}: {short} bytes too few",
                f"{free}enlarge {part.name}, or let {tensor} bypass it",
            )
        for at, part in enumerate(problem.path):
            if isinstance(part, Fan) and part.least > 1:
                freed = replace(part, least=1)
                path = (*problem.path[:at], freed, *problem.path[at + 1 :])
                if search(frame(replace(problem, path=path), PERFECT), ("latency",))[0]:
                    return DataflowError(
                        f"{arch.source}: nodes.{part.name}",
                        f"no mapping of {einsum} uses {part.least} of its instances",
                        f"{free}ask for less (least_use)",
                    )
    return DataflowError(
        f"{arch.source}: {einsum}",
        "no mapping meets all that is asked",
        f"{free}use another architecture",
    )


def _bytes(bits: int) -> str:
    return f"{bits // 8} bytes" if bits % 8 == 0 else f"{bits} bits"


def _least_bits(problem: Problem, at: int) -> tuple[int, str, int] | None:
    """(least bits that a level needs when all other limits hold, its largest tensor, its bits)."""
    part = problem.path[at]
    assert isinstance(part, Level)
    energy = dict.fromkeys(part.bits, 0.0)

    def quiet(level: Level | Fan) -> Level | Fan:
        if isinstance(level, Fan):
            return level
        return replace(level, read_pj=energy, write_pj=energy, channels=())

    path = [quiet(p) for p in problem.path]
    widest = path[at]
    assert isinstance(widest, Level)
    path[at] = replace(widest, capacity_bits=None)
    found = search(frame(replace(problem, path=tuple(path)), PERFECT), ("latency",))[0]
    if found is None:
        return None
    # The least tile of a tensor that has to be there is one element.
    held = sorted(part.must) if part.order is None else list(part.order)
    sizes = {}
    for name in held:
        operand = next(o for o in problem.operands if o.name == name)
        elements = 1
        for rank in operand.ranks:
            extent = 1
            for v, a in rank:
                extent += abs(a) * (max(problem.tiles.get((at, name, v), 1), 1) - 1)
            elements *= extent
        sizes[name] = int(elements * part.bits[name])
    if not sizes:
        return None
    largest = max(sizes, key=lambda name: (sizes[name], name))
    return sum(sizes.values()), largest, sizes[largest]
