"""Puts emitted blocks into a Cascade, everything after what it reads."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from dataflow.ir.cascade import Cascade, Einsum
from dataflow.rewrite.carried.draft import Draft
from dataflow.rewrite.carried.loop import Emitted


def placed(draft: Draft, emitted: Sequence[tuple[tuple[int, ...], Emitted]]) -> Cascade:
    """The cascade with the members (by position) of each group replaced.

    Blocks, and the bodies of loops that were there before, stay together; otherwise program
    order is kept as far as the dependences allow.
    """
    cascade = draft.cascade
    blocks: list[tuple[tuple[int, int], tuple[Einsum, ...]]] = []
    replaced = {n for numbers, _ in emitted for n in numbers}
    for numbers, group in emitted:
        blocks.append(((min(numbers), 0), group.block))
        blocks += [((n, 1), (e,)) for n, e in zip(numbers, group.results, strict=True)]
    for position, body in _runs(cascade):
        kept = tuple(e for k, e in body if k not in replaced)
        if kept:
            blocks.append(((position, 1), kept))
    order = _sorted(cascade, blocks)
    loops = dict(cascade.iterations)
    for _, group in emitted:
        if group.iteration is not None:
            loops[group.iteration.variable] = group.iteration
    return replace(
        cascade,
        rank_sizes=draft.ranks,
        tensors=draft.tensors,
        einsums=tuple(e for k in order for e in blocks[k][1]),
        iterations=loops,
    )


def _runs(cascade: Cascade) -> list[tuple[int, list[tuple[int, Einsum]]]]:
    """Single Einsums, and whole outermost loops."""
    runs: list[tuple[int, list[tuple[int, Einsum]]]] = []
    loop = None
    for number, einsum in enumerate(cascade.einsums):
        outer = einsum.iterates[:1]
        if outer and outer == loop:
            runs[-1][1].append((number, einsum))
        else:
            runs.append((number, [(number, einsum)]))
        loop = outer or None
    return runs


def _sorted(
    cascade: Cascade, blocks: list[tuple[tuple[int, int], tuple[Einsum, ...]]]
) -> list[int]:
    """A topological order, the smallest original position first."""
    writers: dict[str, list[int]] = {}
    for k, (_, einsums) in enumerate(blocks):
        for name in dict.fromkeys(e.output.tensor for e in einsums):
            writers.setdefault(name, []).append(k)
    needs: list[set[int]] = []
    for k, (place, einsums) in enumerate(blocks):
        needed = set()
        for einsum in einsums:
            for item in einsum.inputs:
                for writer in writers.get(item.tensor, ()):
                    # A tensor may be written again later on (loops before and after).
                    single = len(writers[item.tensor]) == 1
                    if writer != k and (single or blocks[writer][0] < place):
                        needed.add(writer)
        needs.append(needed)
    for found in writers.values():
        ordered = sorted(found, key=lambda k: blocks[k][0])
        for before, after in pairwise(ordered):
            needs[after].add(before)
    users: dict[int, list[int]] = {}
    waiting = [len(n) for n in needs]
    for k, needed in enumerate(needs):
        for other in needed:
            users.setdefault(other, []).append(k)
    ready = [(blocks[k][0], k) for k, n in enumerate(waiting) if not n]
    heapq.heapify(ready)
    order = []
    while ready:
        _, k = heapq.heappop(ready)
        order.append(k)
        for user in users.get(k, ()):
            waiting[user] -= 1
            if not waiting[user]:
                heapq.heappush(ready, (blocks[user][0], user))
    assert len(order) == len(blocks), "a carried state needs its own result"
    return order
