"""Attention on FuseMax and its baselines through the general cost model.

``config("binding", 1024)`` is a mapping, its workload and its architecture; nothing here computes
a time or a count. The number of queries in a block is the largest that the buffer holds.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from dataflow.arch import Architecture, load_architecture
from dataflow.cost import Cost, cost
from dataflow.ir import text
from dataflow.mapping import (
    Mapping,
    Workload,
    faults,
    occupied_bits,
    parse_mapping,
    tiles,
    workload_of,
)
from examples.fusemax import flat, texts

CONFIGS = ("unfused", "flat", "cascade", "arch", "binding")
HEADS = 64 * 12
SIDE = 256
"""Rows and columns of the 2D array, keys and queries of a tile."""

CASCADE_BITS = 16 << 23
"""The artifact sizes the blocks of ``cascade`` for 16 MiB, although the machine has 32."""


@dataclass(frozen=True)
class Problem:
    """A mapping with what it is for."""

    mapping: Mapping
    workload: Workload
    arch: Architecture

    def cost(self) -> Cost:
        """Its cost."""
        return cost(self.mapping, self.workload, self.arch)


def dram_bytes(found: Cost) -> int:
    """Bytes that DRAM reads and writes."""
    bits = sum(m.words * m.bits for c in found.counts for m in c.moved if m.level == "dram")
    return bits // 8


def workload(document: str, **sizes: object) -> Workload:
    """The workload of a cascade text, all tensors in 16 bit."""
    filled = document.format(**sizes)
    names = dict.fromkeys(re.findall(r"\b([A-Z]+[0-9]?)\[", filled))
    form = "".join(f"  {name}: {{bits: 16}}\n" for name in names)
    return workload_of(text.loads(f"{filled}format:\n{form}"))


def config(name: str, tokens: int, heads: int = HEADS, e: int = 64, f: int = 64) -> Problem:
    """One of `CONFIGS` for ``tokens`` queries and keys, a multiple of 256."""
    shape = {"heads": heads, "e": e, "f": f, "p": tokens}
    if name == "flat":
        return _flat(tokens, shape)
    if name == "unfused":
        nest = texts.UNFUSED.format(block=min(tokens, 8192 * 1024 // e), lane=tokens // SIDE)
        return _legal(nest, workload(texts.THREE_PASS, **shape), "flat")
    split = name == "cascade"
    operators = texts.SUB_THEN_EXP if split else texts.SUB_EXP
    work = workload(texts.ONE_PASS, m1=tokens // SIDE, **operators, **shape)
    paced = f" interval {9 + 1 + 2 * f}" if name == "binding" else ""
    form = texts.CASCADE if split else texts.FUSEMAX
    end = texts.ONE_TILE_AT_A_TIME if name == "arch" else ""
    block = tokens
    while True:
        nest = form.format(p1=block, interval=paced) + end
        problem = Problem(
            parse_mapping(nest), work, load_architecture("flat" if split else "fusemax")
        )
        wrong = faults(problem.mapping, work, problem.arch)
        if not wrong and not (split and _buffer_bits(problem) > CASCADE_BITS):
            return problem
        if block == SIDE or (wrong and "too many" not in wrong[0].what):
            raise wrong[0]
        block = max(SIDE, block // 2)


def linear(tokens: int, width: int, out: int, arch: str) -> Problem:
    """A linear layer on the 2D array."""
    work = workload(texts.LINEAR, tokens=tokens, width=width, out=out)
    tile = min(tokens, 1 << ((1 << 22) // width).bit_length() - 1)  # 8 MiB at most
    return _legal(texts.LINEAR_NEST.format(tile=tile), work, arch)


def _flat(tokens: int, shape: dict[str, int]) -> Problem:
    block = max(SIDE, min(tokens, 4096 * 4096 // tokens))
    plain = workload(texts.THREE_PASS, **shape)
    spilled = 0
    while True:
        work = plain
        if spilled:
            sizes = {"ma": tokens - spilled, "mb": spilled, **shape}
            work = workload(texts.THREE_PASS_SPILLED, **sizes)
        nest = flat.nest(tokens, block, spilled)
        problem = Problem(parse_mapping(nest), work, load_architecture("flat"))
        wrong = faults(problem.mapping, work, problem.arch)
        if not wrong:
            return problem
        over = re.search(r"(\d+) bytes too many", wrong[0].what)
        if over is None or spilled > tokens // 2:
            raise wrong[0]
        spilled += -(-int(over[1]) // (2 * block))


def _buffer_bits(problem: Problem) -> int:
    found = tiles(problem.mapping, problem.workload, problem.arch)
    return occupied_bits(problem.mapping, found)["global_buffer"]


def _legal(nest: str, work: Workload, arch: str) -> Problem:
    problem = Problem(parse_mapping(nest), work, load_architecture(arch))
    wrong = faults(problem.mapping, work, problem.arch)
    if wrong:
        raise wrong[0]
    return problem
