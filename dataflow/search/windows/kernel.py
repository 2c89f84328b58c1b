"""Rows of the window arithmetic, compiled: what `dataflow.cost.stalls` counts of one mapping.

A row is an order of temporal loops, innermost first, and for each operand and level how many of the
loops stand below its hold. Every chosen row is counted again by `dataflow.cost.stalls`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

READ_LOW, WRITE_LOW, READ_HIGH, WRITE_HIGH = range(4)
MOST_MOVES = 64
VARIABLE = 1 << 32
"""A loop is written as one number: VARIABLE times its variable, plus its trips."""


class Layout(NamedTuple):
    """One Einsum on one machine with its lanes given, as arrays.

    Levels of an operand are numbered from the unit (0) outwards; ``o`` operands, ``k`` levels,
    ``v`` variables, ``f`` fan-outs, ``m`` memories, ``p`` ports, ``r`` dimensions.

    Attributes:
        sizes: of the variables.
        output: index of the operand that is written.
        levels: of each operand, the unit included.
        relevant: o x v.
        dim_of, dim_extent, dim_step: owner, elements, and r x v absolute coefficients.
        memory: o x k; -1 for the unit.
        inside: o x k x v, lanes below a level.
        distinct: o x k; distinct tiles below a level that one instance serves.
        charged: instances, and distinct tiles as the energy has them, times ``share``, o x k x 2.
        share: common denominator of ``charged``.
        whole: whether a part of a word access costs nothing.
        port: o x k x 4 directions.
        spatial_sums: o x k, whether lanes above a level split the reduction on their own.
        finished, partial: bits of an element, by operand.
        capacity: bits, by memory; -1 unbounded.
        width, least: bits a cycle (infinite: unbounded) and least bits, by port.
        line, read_pj, write_pj: of a memory's energy.
        lanes: f x v, trips; over: f x o x k, whether the level stands above the fan-out.
        orders: orders of the inputs, in which their loading may be tried.
        drain: cycles.
        pace: cycles of each step.
        energy: picojoules of the operations.
    """

    sizes: Ints
    output: int
    levels: Ints
    relevant: npt.NDArray[np.bool_]
    dim_of: Ints
    dim_extent: Ints
    dim_step: Ints
    memory: Ints
    inside: Ints
    distinct: Ints
    charged: Ints
    share: int
    whole: bool
    port: Ints
    spatial_sums: npt.NDArray[np.bool_]
    finished: Ints
    partial: Ints
    capacity: Ints
    width: Floats
    least: Ints
    line: Floats
    read_pj: Floats
    write_pj: Floats
    lanes: Ints
    over: npt.NDArray[np.bool_]
    orders: Ints
    drain: int
    pace: float
    energy: float


@njit(cache=True)
def _covered(x, many, period, allowed):  # type: ignore[no-untyped-def]
    """Cycles of the first ``x`` that windows at the start of nested periods cover.

    Periods ascend, each divides the next one.
    """
    if many == 0 or x <= 0:
        return 0
    top = many - 1
    p, a = period[top], min(allowed[top], period[top])
    whole = a + _covered(p, top, period, allowed) - _covered(a, top, period, allowed)
    turns, rest = x // p, x % p
    part = min(rest, a)
    if rest > a:
        part += _covered(rest, top, period, allowed) - _covered(a, top, period, allowed)
    return turns * whole + part


@njit(cache=True)
def _tile(o, extents, d):  # type: ignore[no-untyped-def]
    size = 1
    for r in range(len(d.dim_of)):
        if d.dim_of[r] == o:
            span = 1
            for v in range(len(extents)):
                span += d.dim_step[r, v] * (extents[v] - 1)
            size *= min(d.dim_extent[r], span)
    return size


@njit(cache=True)
def tile(o, k, var, trips, inner, d):  # type: ignore[no-untyped-def]
    """Elements of a tile of a level with the ``inner`` innermost loops below its hold."""
    extents = np.empty(len(d.sizes), np.int64)
    for v in range(len(extents)):
        extents[v] = d.inside[o, k, v]
    for i in range(inner):
        extents[var[i]] *= trips[i]
    for v in range(len(extents)):
        extents[v] = min(extents[v], d.sizes[v])
    return _tile(o, extents, d)


@njit(cache=True)
def room(o, k, words, var, trips, child, d):  # type: ignore[no-untyped-def]
    """Bits of a tile, with the ``child`` innermost loops below the next hold."""
    if o != d.output:
        return words * d.finished[o]
    wide = d.spatial_sums[o, k]
    for i in range(child, len(var)):
        wide = wide or (trips[i] > 1 and not d.relevant[o, var[i]])
    return words * (d.partial[o] if wide else d.finished[o])


@njit(cache=True)
def whole_lanes(var, trips, base, d):  # type: ignore[no-untyped-def]
    """Whether the lanes below each hold have one tile together: no loop over their variables
    stands between them and it."""
    for f in range(d.lanes.shape[0]):
        at = 0  # loops below the lanes' own
        for o in range(len(d.levels)):
            for k in range(1, d.levels[o]):
                if not d.over[f, o, k]:
                    at = max(at, base[o, k])
        for o in range(len(d.levels)):
            for k in range(1, d.levels[o]):
                if d.over[f, o, k]:
                    for i in range(base[o, k], at):
                        if d.lanes[f, var[i]] > 1 and trips[i] > 1:
                            return False
    return True


@njit(cache=True)
def count(var, trips, base, words, d):  # type: ignore[no-untyped-def]
    """(cycles, picojoules) of a row whose tiles fit."""
    many, operands = len(var), len(d.levels)
    deep = base.shape[1]
    bound = np.zeros((operands, deep), np.int64)
    cycles = np.ones((operands, deep), np.int64)
    bits = np.zeros((operands, deep), np.int64)
    back = np.zeros((operands, deep), np.bool_)
    run_same = np.ones((operands, deep), np.int64)
    run_other = np.ones((operands, deep), np.int64)
    total = 1
    for i in range(many):
        total *= trips[i]
    for o in range(operands):
        for k in range(d.levels[o]):
            b = base[o, k]
            if k < d.levels[o] - 1 and not (k == 0 and o == d.output):
                while b < base[o, k + 1] and not d.relevant[o, var[b]]:
                    b += 1
            bound[o, k] = b
            for i in range(b):
                cycles[o, k] *= trips[i]
            for i in range(b, many):
                if trips[i] > 1 and not d.relevant[o, var[i]]:
                    back[o, k] = True
            wide = o == d.output and back[o, k]
            bits[o, k] = d.partial[o] if wide else d.finished[o]
            if k:
                inner = base[o, 0] if k == 1 else bound[o, k - 1]
                for i in range(b - 1, inner - 1, -1):
                    if not d.relevant[o, var[i]]:
                        break
                    run_same[o, k] *= trips[i]
                for i in range(b - 1, inner - 1, -1):
                    if d.relevant[o, var[i]]:
                        break
                    run_other[o, k] *= trips[i]
    double = np.zeros((operands, deep), np.bool_)
    for m in range(len(d.capacity)):
        free, needs = d.capacity[m], 0
        for o in range(operands):
            for k in range(1, d.levels[o]):
                if d.memory[o, k] == m:
                    own = words[o, k] * bits[o, k]
                    free -= own
                    needs += -(-own // run_same[o, k])
        for o in range(operands):
            for k in range(1, d.levels[o]):
                if d.memory[o, k] != m:
                    continue
                need = -(-words[o, k] * bits[o, k] // run_same[o, k])
                if d.capacity[m] < 0 or 2 * needs <= d.capacity[m]:
                    double[o, k] = True
                elif need <= free:
                    free -= need
                    double[o, k] = True
    # Moves: operand, link, port, up; period, periods, real, allowed, bits of a period.
    ports = len(d.width)
    which = np.empty((MOST_MOVES, 4), np.int64)
    window = np.empty((MOST_MOVES, 5), np.int64)
    moves, energy = 0, d.energy
    offload = np.zeros(deep, np.int64)
    for o in range(operands):
        for k in range(d.levels[o] - 1):
            periods = total // cycles[o, k]
            allowed = cycles[o, k]
            if k and not double[o, k]:
                allowed //= run_other[o, k]
            for side in range(4):
                lower = side >= 2  # it is the lower level's port
                up = side in (READ_HIGH, WRITE_LOW)
                if up and o != d.output:
                    continue
                if not up and o == d.output and not back[o, k]:
                    continue
                at = k if lower else k + 1
                if d.memory[o, at] < 0:
                    continue
                distinct = 1 if lower else d.distinct[o, k + 1]
                load = words[o, k] * distinct * bits[o, k]
                port = d.port[o, at, side]
                least = d.least[port]
                m = d.memory[o, at]
                price = d.read_pj[m] if side in (READ_LOW, READ_HIGH) else d.write_pj[m]
                paid = words[o, k] * bits[o, k] * (d.share if lower else d.charged[o, k + 1, 1])
                each = -(-paid // (least * d.share)) * least / d.line[m]
                accesses = each * periods * d.charged[o, at, 0] / d.share
                energy += (np.floor(accesses + 1e-6) if d.whole else accesses) * price
                real = np.int64(np.ceil(load / d.width[port] - 1e-12))
                which[moves, 0], which[moves, 1], which[moves, 2] = o, k, port
                window[moves, 0], window[moves, 1] = cycles[o, k], periods
                window[moves, 2], window[moves, 3] = real, allowed
                window[moves, 4] = load
                which[moves, 3] = up
                moves += 1
    stall = 0
    left = np.empty(moves, np.int64)
    for j in range(moves):
        left[j] = window[j, 2]
    period, allow = np.empty(moves, np.int64), np.empty(moves, np.int64)
    for port in range(ports):
        number, positive, other, windows = 0, 0, 0, 0
        whole, longest, times, lone = -1, 0, 0, 0
        for j in range(moves):
            if which[j, 2] != port:
                continue
            excess = (window[j, 2] - window[j, 3]) * (window[j, 1] - 1)
            lone = excess
            windows += window[j, 3] * (window[j, 1] - 1)
            if excess > 0:
                positive += excess
            else:
                other += excess
            if window[j, 3] == window[j, 0] and whole < 0:
                whole = window[j, 0] * window[j, 1]
            if window[j, 0] > longest:
                longest, times = window[j, 0], window[j, 1]
            at = number  # ascending
            while at > 0 and period[at - 1] > window[j, 0]:
                period[at], allow[at] = period[at - 1], allow[at - 1]
                at -= 1
            period[at], allow[at] = window[j, 0], window[j, 3]
            number += 1
        if number == 1:
            stall = max(stall, lone)
        elif number > 1:
            union = whole
            if whole < 0:
                union = _covered(longest, number, period, allow) * times
            stall = max(stall, positive + max(0, other + windows - union))
    # What is moved once may use idle cycles; partial sums that come back are not looked at.
    for port in range(ports):
        busy = 0
        for j in range(moves):
            seen = which[j, 0] != d.output or which[j, 3] == 1
            if which[j, 2] == port and window[j, 1] > 1 and seen:
                busy += -(-window[j, 4] // window[j, 0])
        share = max(0.0, 1 - busy / d.width[port]) * (total + stall)
        idle = np.int64(np.floor(share + 1e-9))
        done = np.zeros(moves, np.bool_)
        while True:
            best = -1
            for j in range(moves):
                seen = which[j, 0] != d.output or which[j, 3] == 1
                fits = which[j, 2] == port and window[j, 1] == 1 and seen
                if fits and not done[j] and (best < 0 or window[j, 2] > window[best, 2]):
                    best = j
            if best < 0:
                break
            done[best] = True
            o, k = which[best, 0], which[best, 1]
            least = np.int64(np.ceil(words[o, 1] * bits[o, k] / d.width[port] - 1e-12))
            less = max(min(window[best, 2], least), window[best, 2] - idle)
            idle -= window[best, 2] - less
            left[best] = less
    onload = _onload(which, left, moves, d)
    unloaded = 0
    for j in range(moves):
        if which[j, 0] == d.output and which[j, 3] == 1 and which[j, 1] > 0:
            offload[which[j, 1]] = max(offload[which[j, 1]], left[j])
    for k in range(deep):
        unloaded += offload[k]
    steps = np.int64(np.ceil(total * d.pace - 1e-9))
    return steps + stall + onload + unloaded + d.drain, energy


@njit(cache=True)
def _onload(which, left, moves, d):  # type: ignore[no-untyped-def]
    """Loading before the start: links of two inputs whose ports are the same take turns."""
    operands = len(d.levels)
    # A link of an input is the set of ports at its ends, as bits, and its longer end.
    ends = np.zeros((operands, 16, 2), np.int64)
    links = np.zeros(operands, np.int64)
    for o in range(operands):
        if o == d.output:
            continue
        for k in range(1, d.levels[o] - 1):
            marks, longest, found = 0, 0, False
            for j in range(moves):
                if which[j, 0] == o and which[j, 1] == k:
                    marks |= 1 << which[j, 2]
                    longest, found = max(longest, left[j]), True
            if not found:
                continue
            same = -1
            for n in range(links[o]):
                if ends[o, n, 0] == marks:
                    same = n
            if same < 0:
                same = links[o]
                links[o] += 1
                ends[o, same, 0] = marks
            ends[o, same, 1] += longest
    if d.orders.shape[1] < 2:
        total = 0
        for o in range(operands):
            for n in range(links[o]):
                total += ends[o, n, 1]
        return total
    best = -1
    for order in d.orders:
        total = 0
        for i in range(len(order) - 1):
            a, b = order[i], order[i + 1]
            alone, rest, second = 0, 0, 0
            for n in range(links[b]):
                second += ends[b, n, 1]
            for n in range(links[a]):
                shared = False
                for x in range(links[b]):
                    shared = shared or ends[b, x, 0] == ends[a, n, 0]
                if shared:
                    alone += ends[a, n, 1]
                else:
                    rest += ends[a, n, 1]
            total += alone + max(second, rest)
        if best < 0 or total < best:
            best = total
    return best
