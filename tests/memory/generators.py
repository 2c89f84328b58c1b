"""Generators of packing problems: small ones, memories kept full, and traces of a network."""

from __future__ import annotations

import random

from hypothesis import strategies as st

from dataflow.memory import Buffer


@st.composite
def problems(draw: st.DrawFn, most: int = 7, size: int = 40) -> list[Buffer]:
    """A few buffers with random lives."""
    count = draw(st.integers(1, most))
    found = []
    for i in range(count):
        start = draw(st.integers(0, 6))
        end = start + draw(st.integers(1, 4))
        found.append(Buffer(f"b{i}", draw(st.integers(1, size)), start, end))
    return found


def refilled(
    seed: int, capacity: int = 100, steps: int = 9, largest: int = 50, free: float = 0.3
) -> list[Buffer]:
    """A memory that is full at every step: some buffers end, their bytes are cut into new ones.

    The freed bytes need not lie together, so the least capacity may be above `capacity`, which is
    alive at every step.
    """
    rng = random.Random(seed)

    def cut(amount: int) -> list[int]:
        sizes = []
        while amount:
            sizes.append(min(amount, rng.randint(1, largest)))
            amount -= sizes[-1]
        return sizes

    alive = [(size, 0) for size in cut(capacity)]
    found: list[tuple[int, int, int]] = []
    for step in range(1, steps):
        kept = []
        for size, start in alive:
            if rng.random() < free:
                found.append((size, start, step))
            else:
                kept.append((size, start))
        alive = kept + [(size, step) for size in cut(capacity - sum(size for size, _ in kept))]
    found += [(size, start, steps) for size, start in alive]
    return [Buffer(f"b{i}", *one) for i, one in enumerate(found)]


@st.composite
def constrained(draw: st.DrawFn) -> list[Buffer]:
    """A few small buffers with alignments, gaps, bank groups, holes, and at most one fixed."""
    found = []
    for i, plain in enumerate(draw(problems(5, 6))):
        holes: tuple[tuple[int, int], ...] = ()
        if plain.end - plain.start > 2 and draw(st.booleans()):
            holes = ((plain.start + 1, plain.start + 2),)
        found.append(
            Buffer(
                plain.name,
                plain.size,
                plain.start,
                plain.end,
                align=draw(st.sampled_from([1, 1, 2, 3, 4])),
                gap=draw(st.sampled_from([0, 0, 1, 3])),
                fixed=draw(st.integers(0, 3)) * 12 if i == 0 and draw(st.booleans()) else None,
                groups=draw(st.sampled_from([(), (), ("g",), ("g", "h")])),
                holes=holes,
            )
        )
    return found
