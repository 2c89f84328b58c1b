"""What of a network lies on chip when."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dataflow import arguments
from dataflow.api.models import load
from dataflow.api.shared import StrPath, new_file, to_json
from dataflow.arguments import guarded
from dataflow.errors import DataflowError

if TYPE_CHECKING:
    import onnx

    from dataflow.residency import Clone, Method, Patches, Plan

_MOST_BYTES = 1 << 40


@dataclass(frozen=True)
class Planned:
    """A plan, the cycles of simpler rules by name (empty unless asked for), and the steps that run
    again in front of a reader, the bands that were found for the first steps."""

    plan: Plan
    others: Mapping[str, int]
    recomputed: tuple[Clone, ...] = ()
    lines: Patches | None = None

    def json(self) -> dict[str, object]:
        """All of it, as the file has it."""
        from dataflow.residency import document

        again = [{"step": clone.step, "before": clone.before} for clone in self.recomputed]
        lines = None if self.lines is None else f"{self.lines.steps}:{self.lines.rows}"
        return {**document(self.plan, self.others), "recomputed": again, "lines": lines}


@guarded
def plan(
    model: StrPath | onnx.ModelProto,
    *,
    capacity: int,
    port: int = 128,
    array: str = "16x16",
    bits: int | None = None,
    stream_bytes: int | None = None,
    method: Method = "best",
    steady: bool = False,
    compare: bool = False,
    reorder: bool = False,
    recompute: bool = False,
    patches: str | None = None,
    lines: str | None = None,
    out: StrPath | None = None,
    dims: Mapping[str, int] | None = None,
) -> Planned:
    """A plan of what of a network lies in a scratchpad when, and how far from the best it is.

    Args:
        model: ONNX model or text cascade.
        capacity: bytes of the scratchpad.
        port: bits that the DRAM port moves in a cycle.
        array: ``ROWSxCOLS`` of multiply-accumulators; as many vector lanes as columns.
        bits: no element counts as wider: a float model in the place of its int8 form.
        stream_bytes: bytes of the scratchpad through which what is not resident streams; None: an
            eighth, at most 4096.
        method: ``best``, ``greedy`` or ``exact`` (small networks).
        steady: the network runs again and again; weights may stay.
        compare: also by simpler rules.
        reorder: the order of operators with the least peak, if it is better than the model's.
        recompute: results are computed again where that saves cycles.
        patches: ``STEPS:ROWSxCOLS``: the first steps run patch by patch of their result, and what
            neighbours share is computed again.
        lines: ``STEPS:ROWS``: the first steps run in turn on so many bands of lines, once; ``auto``
            looks for the best.
        out: JSON file to write.

    Raises:
        DataflowError: bad input, by name.
    """
    from dataflow.files import write_atomic
    from dataflow.residency import (
        METHODS,
        Array,
        Machine,
        best_lines,
        least_peak,
        peak,
        recomputed,
        reordered,
        schedule_of,
    )
    from dataflow.residency import compare as simpler
    from dataflow.residency import plan as found_for

    room = _between(capacity, "--capacity", 1, _MOST_BYTES)
    width = _between(port, "--port", 8, 1 << 16)
    if width % 8:
        raise DataflowError("--port", f"{width} bits are no whole bytes", "use for example 128")
    streams = min(room // 8, 4096)
    if stream_bytes is not None:
        streams = _between(stream_bytes, "--stream-bytes", 0, room)
    if bits is not None:
        bits = _between(bits, "--bits", 1, 64)
    if method not in METHODS:
        raise DataflowError("--method", f"{method!r} is unknown", f"use {', '.join(METHODS)}")
    rows, cols = _array(arguments.text(array, "--array"))
    target = None if out is None else new_file(out)
    if lines == "auto" and (patches is not None or method != "best"):
        what, fix = (
            "goes with neither --patches nor another --method",
            "give bands, or leave it out",
        )
        raise DataflowError("--lines auto", what, fix)
    cut = _patches(patches, None if lines == "auto" else lines)
    units, machine = Array(rows, cols, cols), Machine(room, width // 8, streams)
    cascade = load(model, dims)
    if lines == "auto":
        staged = best_lines(cascade, units, bits, machine, steady)
        made, cut = staged.plan, staged.lines
        schedule = made.schedule
    else:
        schedule = schedule_of(cascade, units, bits, cut)
        made = found_for(schedule, machine, method=method, steady=steady)
    order = least_peak(schedule) if reorder else None
    if order is not None and order.peak < peak(schedule):
        other = reordered(schedule, order.steps)
        again = found_for(other, machine, method=method, steady=steady)
        if again.cycles < made.cycles:
            schedule, made = other, again
    clones: tuple[Clone, ...] = ()
    if recompute:
        other, clones = recomputed(schedule, machine, steady)
        again = found_for(other, machine, method=method, steady=steady)
        if again.cycles < made.cycles:
            made = again
        else:
            clones = ()
    others = simpler(schedule, machine) if compare else {}
    found = Planned(made, others, clones, cut if cut is not None and cut.lines else None)
    if target is not None:
        write_atomic(target, to_json(found.json()).encode())
    return found


def _array(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d{1,5})x(\d{1,5})", text)
    if match is None or not all(0 < int(side) <= 1 << 14 for side in match.groups()):
        raise DataflowError("--array", f"{text!r} is not ROWSxCOLS", "use for example 16x16")
    return int(match[1]), int(match[2])


def _patches(patches: str | None, lines: str | None) -> Patches | None:
    from dataflow.residency import Patches

    if patches is not None and lines is not None:
        raise DataflowError("--lines", "and --patches exclude each other", "give one of them")
    if patches is not None:
        match = re.fullmatch(r"(\d{1,4}):(\d{1,4})x(\d{1,4})", patches)
        if match is None:
            what = f"{patches!r} is not STEPS:ROWSxCOLS"
            raise DataflowError("--patches", what, "use for example 11:4x4")
        return Patches(int(match[1]), int(match[2]), int(match[3]))
    if lines is None:
        return None
    match = re.fullmatch(r"(\d{1,4}):(\d{1,4})", lines)
    if match is None:
        what = f"{lines!r} is not STEPS:ROWS"
        raise DataflowError("--lines", what, "use for example 11:14, or auto")
    return Patches(int(match[1]), int(match[2]), lines=True)


def _between(value: object, where: str, low: int, high: int) -> int:
    number = arguments.whole(value, where)
    if not low <= number <= high:
        raise DataflowError(where, f"is {number}", f"use {low} to {high}")
    return number
