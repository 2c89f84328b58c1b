"""Joints carried back in time: which neighbours a sweep should make long before it needs them.

A joint of two buffers needs the places where they begin side by side, and so on back. A matrix of
each joint over the buffers of a full section holds the chance that a pair of neighbours there leads
to it: what lives on keeps its entry, the entries of what begins are shared out over the places of
what ended. When both may come from one place their order there is free, and the joint with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dataflow.memory.offsets import joints
from dataflow.memory.offsets.arrays import Ints

Floats = NDArray[np.float64]

WAYS = 64
"""Ways to choose the joints between two sections; where there are more, nothing is known."""

TESTS = 800
"""Ways that are tried."""

FILLINGS = 32
"""Random fillings of all ways together, two of each at least."""

STEPS = 300
"""Decisions of one trial or filling."""

FADE = 0.97
"""What a chance keeps from one full section to the one before."""

BASE = 0.03
"""Chance of a joint that no neighbours lead to."""

LITTLE = 0.05
"""Sum of chances below which a joint is forgotten."""

FAR = 30
"""Full sections that a joint is carried back."""

NEAR = 16
"""Joints that are looked at in one section, the nearest."""


MOST = 16.0
"""Most that a joint counts."""


@dataclass(frozen=True)
class Step:
    """From one full section to the next.

    Attributes:
        ends, begins: rows of what ends in the first section, of what begins in the second.
        stays, stayed: rows in the first and in the second of what lives on.
        place: (begins, ends): chance that it lies where that one was; None: nothing is known.
        joint: (ends, ends): chance that they must lie side by side.
    """

    ends: Ints
    begins: Ints
    stays: Ints
    stayed: Ints
    place: Floats | None
    joint: Floats


@dataclass(frozen=True)
class Wishes:
    """What is wanted in a section.

    Attributes:
        slot: row of each buffer, or -1.
        want: (joints, rows, rows): chance that two neighbours lead to the joint.
        base: chance of each joint without any.
        sum: (rows, rows): all joints together, those that hang on neighbours most first.
    """

    slot: Ints
    want: Floats
    base: Floats
    power: Floats
    sum: Floats


class Foresight:
    """Wishes of all sections of a sweep.

    Args:
        sections: members, in the order of the sweep.
        room: bytes that stay free in each.
        height: of each buffer.
        seed: state of the random numbers, moved on.
    """

    def __init__(
        self, sections: Sequence[Sequence[int]], room: Ints, height: Ints, seed: Ints
    ) -> None:
        self.count = len(height)
        self.full = np.flatnonzero(room == 0)
        self.members = [np.array(sorted(sections[t]), dtype=np.int64) for t in self.full.tolist()]
        self.wanted: list[tuple[list[Floats], list[float], list[int]]] = [
            ([], [], []) for _ in self.full
        ]
        self.power = np.ones(len(self.full) + 1)
        running: list[tuple[Floats, float, int]] = []
        for x in range(len(self.full) - 2, -1, -1):
            step = _step(self.members[x], self.members[x + 1], height, seed)
            rows = len(self.members[x])
            still = []
            for matrix, base, age in running:
                carried, free = _carried(step, matrix, rows)
                if carried.sum() / 2 > LITTLE and age < FAR:
                    still.append((carried, base + free, age + 1))
            if step.joint.any():
                fresh = np.zeros((rows, rows))
                fresh[np.ix_(step.ends, step.ends)] = step.joint
                still.append((fresh, BASE, 0))
            running = still
            near = sorted(running, key=lambda one: one[2])[:NEAR]
            self.wanted[x] = (
                [one[0] for one in near],
                [one[1] for one in near],
                [x + 1 + one[2] for one in near],
            )

    def blame(self, section: int) -> None:
        """The joints that this section needs count more from now on."""
        x = int(np.searchsorted(self.full, section))
        self.power[x] = min(MOST, 2.0 * self.power[x])

    def at(self, section: int) -> Wishes:
        """What is wanted in a section: the wishes of the next full one, itself included."""
        slot = np.full(self.count, -1, dtype=np.int64)
        x = int(np.searchsorted(self.full, section))
        if x == len(self.full) or not self.wanted[x][0]:
            return Wishes(slot, np.zeros((0, 1, 1)), np.zeros(0), np.zeros(0), np.zeros((1, 1)))
        slot[self.members[x]] = np.arange(len(self.members[x]))
        want, base = np.array(self.wanted[x][0]), np.array(self.wanted[x][1])
        power = self.power[self.wanted[x][2]]
        return Wishes(
            slot, want, base, power, (want * (power / (base + 0.2))[:, None, None]).sum(axis=0)
        )


def _step(now: Ints, after: Ints, height: Ints, seed: Ints) -> Step:
    """What is known of the step between two full sections of these members."""
    _, stays, stayed = np.intersect1d(now, after, assume_unique=True, return_indices=True)
    ends = np.setdiff1d(np.arange(len(now)), stays)
    begins = np.setdiff1d(np.arange(len(after)), stayed)
    ends = ends[np.argsort(-height[now[ends]], kind="stable")]
    begins = begins[np.argsort(-height[after[begins]], kind="stable")]
    joint = np.zeros((len(ends), len(ends)))
    place = np.zeros((len(begins), len(ends)))
    blank = Step(ends, begins, stays, stayed, None, joint)
    if not len(ends) or not len(begins):
        return blank
    work = np.zeros(2, dtype=np.int64)
    found = np.zeros((WAYS, len(ends)), dtype=np.int64)
    old, new = height[now[ends]], height[after[begins]]
    count = joints.partitions(old, new, TESTS, STEPS, found, work)
    if count < 0:
        return blank
    ways = found[:count] if count else np.arange(len(ends))[None, :]
    tries = max(2, FILLINGS // len(ways))
    if not joints.shares(old, new, ways, tries, STEPS, seed, work, place, joint):
        return blank
    return Step(ends, begins, stays, stayed, place, joint)


def _carried(step: Step, matrix: Floats, rows: int) -> tuple[Floats, float]:
    """A joint's matrix one full section earlier, and the chance that its order is free there."""
    found = np.zeros((rows, rows))
    found[np.ix_(step.stays, step.stays)] = matrix[np.ix_(step.stayed, step.stayed)]
    free = 0.0
    if step.place is not None:
        side = step.place.T @ matrix[np.ix_(step.begins, step.stayed)]
        found[np.ix_(step.ends, step.stays)] = side
        found[np.ix_(step.stays, step.ends)] = side.T
        inner = step.place.T @ matrix[np.ix_(step.begins, step.begins)] @ step.place
        free = float(np.trace(inner)) / 2
        np.fill_diagonal(inner, 0.0)
        found[np.ix_(step.ends, step.ends)] = inner
    return FADE * found, free
