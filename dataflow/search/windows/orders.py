"""Orders of loops and levels in them, tried one by one: the enumeration, compiled."""

from __future__ import annotations

import numpy as np
from numba import njit

from dataflow.search.windows.kernel import VARIABLE, count, room, tile, whole_lanes


@njit(cache=True)
def _next(order):  # type: ignore[no-untyped-def]
    """The next order in place; False after the last one. Equal entries change no places."""
    i = len(order) - 2
    while i >= 0 and order[i] >= order[i + 1]:
        i -= 1
    if i < 0:
        return False
    j = len(order) - 1
    while order[j] <= order[i]:
        j -= 1
    order[i], order[j] = order[j], order[i]
    left, right = i + 1, len(order) - 1
    while left < right:
        order[left], order[right] = order[right], order[left]
        left, right = left + 1, right - 1
    return True


@njit(cache=True)
def _better(a, b, goal):  # type: ignore[no-untyped-def]
    """Whether (cycles, picojoules) ``a`` beats ``b``: by the goal, then cycles, then energy."""
    if goal == 0:
        one, other = a[0], b[0]
    elif goal == 1:
        one, other = a[1], b[1]
    else:
        one, other = a[0] * a[1], b[0] * b[1]
    near = 1e-12 * abs(other)
    if one < other - near:
        return True
    if one > other + near:
        return False
    if a[0] != b[0]:
        return a[0] < b[0]
    return a[1] < b[1] * (1 - 1e-12)


@njit(cache=True)
def _levels_of(order, d, every, best, bases, orders):  # type: ignore[no-untyped-def]
    """Tries levels for an order; how many. ``every``: also where one could be held further out."""
    var, trips = order // VARIABLE, order % VARIABLE
    many, operands = len(order), len(d.levels)
    deep = bases.shape[2]
    slots = 0
    owner, level = np.empty(16, np.int64), np.empty(16, np.int64)
    spot = np.empty((16, many + 1), np.int64)
    size = np.empty((16, many + 1), np.int64)
    spots = np.zeros(16, np.int64)
    base = np.zeros((operands, deep), np.int64)
    words = np.ones((operands, deep), np.int64)
    for o in range(operands):
        top = d.levels[o] - 1
        base[o, top] = many
        words[o, top] = tile(o, top, var, trips, many, d)
        for k in range(1, top):
            owner[slots], level[slots] = o, k
            for b in range(many + 1):
                # A loop that changes nothing moves below the hold anyway.
                if b < many and not d.relevant[o, var[b]]:
                    continue
                own = tile(o, k, var, trips, b, d)
                most = d.capacity[d.memory[o, k]]
                if 0 <= most < own * d.finished[o]:
                    break  # nor does what is further out
                spot[slots, spots[slots]] = b
                size[slots, spots[slots]] = own
                spots[slots] += 1
            if not spots[slots]:
                return 0
            slots += 1
    at = np.zeros(16, np.int64)
    used = np.zeros(len(d.capacity), np.int64)
    tried = 0
    while True:
        for s in range(slots):
            base[owner[s], level[s]] = spot[s, at[s]]
            words[owner[s], level[s]] = size[s, at[s]]
        if _fits(base, words, var, trips, used, d):
            full = True
            if not every:
                for s in range(slots):
                    if at[s] + 1 < spots[s]:
                        o, k = owner[s], level[s]
                        base[o, k], words[o, k] = spot[s, at[s] + 1], size[s, at[s] + 1]
                        full = full and not _fits(base, words, var, trips, used, d)
                        base[o, k], words[o, k] = spot[s, at[s]], size[s, at[s]]
                        if not full:
                            break
            if full:
                found = count(var, trips, base, words, d)
                tried += 1
                for goal in range(3):
                    old = (best[goal, 0], best[goal, 1])
                    if _better(found, old, goal):
                        best[goal, 0], best[goal, 1] = found
                        bases[goal] = base
                        orders[goal] = order
        s = 0
        while s < slots:
            at[s] += 1
            if at[s] < spots[s]:
                break
            at[s] = 0
            s += 1
        if s == slots:
            return tried


@njit(cache=True)
def _fits(base, words, var, trips, used, d):  # type: ignore[no-untyped-def]
    used[:] = 0
    for o in range(len(d.levels)):
        for k in range(1, d.levels[o]):
            if base[o, k] < base[o, k - 1]:
                return False
            m = d.memory[o, k]
            if d.capacity[m] >= 0:
                used[m] += room(o, k, words[o, k], var, trips, base[o, k - 1], d)
                if used[m] > d.capacity[m]:
                    return False
    return whole_lanes(var, trips, base, d)


@njit(cache=True)
def enumerate_orders(loops, d, keep, best, bases, orders):  # type: ignore[no-untyped-def]
    """The best levels and orders of some loops for each of three goals; how many were tried.

    All orders with levels as far out as they fit; then, of the ``keep`` best orders for each goal,
    all levels.

    Args:
        loops: see VARIABLE, ascending.
        best, bases, orders: what is known of each goal (infinite: nothing), and what is found.
    """
    many = len(loops)
    order = loops.copy()
    near = np.full((3, keep, 2), np.inf)
    held = np.zeros((3, keep, many), np.int64)
    tried = 0
    own = np.empty((3, 2))
    own_bases = np.zeros_like(bases)
    own_orders = np.zeros_like(orders)
    while True:
        own[:] = np.inf
        tried += _levels_of(order, d, False, own, own_bases, own_orders)
        for goal in range(3):
            found = (own[goal, 0], own[goal, 1])
            if found[0] == np.inf:
                continue
            if _better(found, (best[goal, 0], best[goal, 1]), goal):
                best[goal] = own[goal]
                bases[goal] = own_bases[goal]
                orders[goal] = own_orders[goal]
            at = keep - 1
            if keep and _better(found, (near[goal, at, 0], near[goal, at, 1]), goal):
                while at > 0 and _better(
                    found, (near[goal, at - 1, 0], near[goal, at - 1, 1]), goal
                ):
                    near[goal, at] = near[goal, at - 1]
                    held[goal, at] = held[goal, at - 1]
                    at -= 1
                near[goal, at, 0], near[goal, at, 1] = found
                held[goal, at] = order
        if not _next(order):
            break
    for goal in range(3):
        for n in range(keep):
            if near[goal, n, 0] < np.inf:
                tried += _levels_of(held[goal, n], d, True, best, bases, orders)
    return tried
