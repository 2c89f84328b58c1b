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


def near_full(seed: int, count: int) -> tuple[list[Buffer], int]:
    """(about `count` buffers, the least capacity, which a known placement reaches).

    A memory is filled and freed where its buffers stand: at each step some end, and what is free
    is cut into new ones. Two steps of three leave at most 3 % of the bytes free, the others up to
    40 %; the first one none, so that the capacity is what is alive and the least one.
    """
    rng = random.Random(seed)
    units = rng.choice([64, 128, 256, 512, 1024])
    mean = units / rng.uniform(8, 30)
    ends = rng.choice([0.05, 0.1, 0.2, 0.3])
    alive: dict[int, tuple[int, int]] = {}  # offset -> (size, start)
    found: list[tuple[int, int, int]] = []
    step = 0
    while len(found) + len(alive) < count:
        room = 0 if step == 0 else int(units * (rng.choice([0, 0.03, rng.uniform(0.1, 0.4)])))
        holes = _holes(alive, units)
        rng.shuffle(holes)
        for low, high in holes:
            at = low
            while at < high:
                take = min(high - at, max(1, round(rng.expovariate(1 / mean))))
                if take > room or rng.random() < 0.5:
                    alive[at] = (take, step)
                else:
                    room -= take
                at += take
        step += 1
        share = rng.uniform(0.5, 1.5) * ends
        for offset in [o for o in sorted(alive) if rng.random() < share]:
            size, start = alive.pop(offset)
            found.append((size, start, step))
    found += [(size, start, step + 1) for size, start in alive.values()]
    rng.shuffle(found)
    buffers = [Buffer(f"b{i}", size * 64, a, b) for i, (size, a, b) in enumerate(found)]
    return buffers, units * 64


def _holes(alive: dict[int, tuple[int, int]], units: int) -> list[tuple[int, int]]:
    """The free intervals between what is alive."""
    holes, at = [], 0
    for low, size in [*sorted((o, s) for o, (s, _) in alive.items()), (units, 0)]:
        if at < low:
            holes.append((at, low))
        at = low + size
    return holes


def trace(seed: int, count: int) -> list[Buffer]:
    """About `count` buffers of a network's execution, three an operator and some for all.

    An operator's output lives until its last reader, mostly the next one, sometimes a skip ahead;
    its workspace for one step; the weights fetched for it since two or three steps before. A few
    tensors live for a large part of the run. Sizes are multiples of 64 bytes; they follow a slow
    wave, as resolutions and channels do.
    """
    rng = random.Random(seed)
    found: list[Buffer] = []

    def add(size: float, start: int, end: int) -> None:
        found.append(Buffer(f"b{len(found)}", 64 * max(1, round(size)), max(0, start), end))

    steps = count // 3
    for step in range(steps):
        scale = 1 + 15 * abs((step / 37) % 2 - 1)
        reach = rng.choice([1, 1, 1, 1, 2, 2, 3, 8, 40])
        add(scale * rng.uniform(2, 24), step, step + 1 + reach)
        add(rng.expovariate(1 / (4 * scale)), step, step + 1)
        if step % 3:
            add(rng.uniform(4, 160), step - rng.randint(1, 3), step + 1)
        elif rng.random() < 0.0002:
            add(rng.uniform(4, 60), step, step + steps // rng.randint(2, 20))
        else:
            add(rng.uniform(1, 40), step, step + rng.randint(2, 12))
    return found


def guillotine(seed: int, count: int) -> tuple[list[Buffer], int]:
    """(about `count` buffers, the least capacity): the whole memory cut through, again and again.

    A rectangle of time and memory is cut by straight cuts until there are enough pieces; one piece
    of thirty is left out. The first step keeps all of its pieces.
    """
    rng = random.Random(seed)
    units = rng.choice([64, 256, 1024])
    steps = max(8, round(count / rng.uniform(3, 9)))
    pieces = [(0, units, 0, steps)]  # (offset, size, start, end)
    kept: list[tuple[int, int, int, int]] = []
    while pieces and len(pieces) + len(kept) < count * 31 // 30:
        # The largest of some, so that sizes stay mixed.
        some = rng.sample(range(len(pieces)), min(4, len(pieces)))
        at = max(some, key=lambda k: pieces[k][1] * (pieces[k][3] - pieces[k][2]))
        low, size, start, end = pieces.pop(at)
        wide = (end - start) / steps
        if size > 1 and (
            end - start == 1 or rng.random() * (size / units + 0.4 * wide) < size / units
        ):
            cut = rng.randint(1, size - 1)
            pieces += [(low, cut, start, end), (low + cut, size - cut, start, end)]
        elif end - start > 1:
            when = rng.randint(start + 1, end - 1)
            pieces += [(low, size, start, when), (low, size, when, end)]
        else:
            kept.append((low, size, start, end))
    found = [p for p in kept + pieces if p[2] == 0 or rng.random() < 29 / 30]
    rng.shuffle(found)
    return [Buffer(f"b{i}", 64 * p[1], p[2], p[3]) for i, p in enumerate(found)], 64 * units


def skyline(seed: int, count: int) -> tuple[list[Buffer], int]:
    """(`count` buffers or more, the least capacity): grown from below, each on the lowest place.

    The lowest run of the skyline gets a buffer as wide as the run or a part of it; what would not
    leave room for another one ends at the capacity. Some places near the top stay free.
    """
    rng = random.Random(seed)
    units = rng.choice([128, 512, 2048])
    deep = rng.uniform(8, 25)
    steps = max(8, round(count / rng.uniform(3, 8)))
    mean = steps * deep / count  # life of a buffer
    level = [0] * steps
    found: list[tuple[int, int, int]] = []
    while min(level) < units:
        low = min(level)
        start = level.index(low)
        end = start
        while end < steps and level[end] == low:
            end += 1
        life = min(end - start, max(1, round(rng.expovariate(1 / mean))))
        if life < end - start and rng.random() < 0.5:
            start = end - life
        size = max(1, round(rng.expovariate(deep / units)))
        if low + size > units - max(1, units // 100):
            size = units - low
            if found and rng.random() < 0.1 and size < units // 25:
                level[start : start + life] = [units] * life
                continue
        level[start : start + life] = [low + size] * life
        found.append((size, start, start + life))
    rng.shuffle(found)
    buffers = [Buffer(f"b{i}", 64 * size, a, b) for i, (size, a, b) in enumerate(found)]
    return buffers, 64 * units


def layered(seed: int, count: int) -> tuple[list[Buffer], int]:
    """(about `count` buffers, the least capacity): lives as in a network, decided at birth.

    Most buffers live for one to three steps, some for ten, some for forty. What is free at a step
    is cut into new ones; two steps of three leave at most 2 % free.
    """
    rng = random.Random(seed)
    units = rng.choice([128, 512, 2048])
    mean = units / rng.uniform(8, 25)
    alive: dict[int, tuple[int, int]] = {}
    until: dict[int, int] = {}
    found: list[tuple[int, int, int]] = []
    step = 0
    while len(found) < count:
        for offset in [o for o in sorted(alive) if until[o] <= step]:
            del alive[offset]
        room = 0 if step == 0 else int(units * rng.choice([0, 0.02, rng.uniform(0.1, 0.3)]))
        for low, high in _holes(alive, units):
            at = low
            while at < high:
                take = min(high - at, max(1, round(rng.expovariate(1 / mean))))
                if take <= room and rng.random() < 0.5:
                    room -= take
                else:
                    alive[at] = (take, step)
                    until[at] = step + rng.choice([1, 1, 2, 2, 3, 3, rng.randint(4, 12), 40])
                    found.append((take, step, until[at]))
                at += take
        step += 1
    found = [(size, a, min(b, step)) for size, a, b in found]
    rng.shuffle(found)
    buffers = [Buffer(f"b{i}", 64 * size, a, b) for i, (size, a, b) in enumerate(found)]
    return buffers, 64 * units
