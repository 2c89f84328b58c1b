"""The run on a time line: what each engine retired, and when, as a trace that Perfetto opens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dataflow.cosim.rtl import Retired

LAYERS = "layers"


def trace(retired: Sequence[Retired], layers: Sequence[str], cycles: int) -> dict[str, Any]:
    """The trace of a run in the Trace Event Format; one microsecond stands for one cycle.

    A block of an engine ends when its instruction retires and begins when the one before it did,
    so that it holds the waiting too. A block of the layers is a layer's part of the whole.

    Args:
        retired: instructions in the order of their retirement.
        layers: names of the layers, in execution order.
        cycles: of the whole run, from start to done.
    """
    engines = sorted({entry.unit for entry in retired})
    threads = {LAYERS: 0, **{unit.name.lower(): number for number, unit in enumerate(engines, 1)}}
    events: list[dict[str, Any]] = [
        {"name": "thread_name", "ph": "M", "pid": 0, "tid": number, "args": {"name": name}}
        for name, number in threads.items()
    ]

    def block(thread: str, name: str, start: int, end: int) -> None:
        place = {"pid": 0, "tid": threads[thread], "ts": start, "dur": end - start}
        events.append({"name": name, "ph": "X", **place})

    last = dict.fromkeys(engines, 0)
    done = dict.fromkeys(range(len(layers)), 0)
    for entry in retired:
        now = entry.counters["cycles"]
        block(entry.unit.name.lower(), layers[entry.layer], last[entry.unit], now)
        last[entry.unit] = now
        done[entry.layer] = max(done[entry.layer], now)
    before = 0
    for index, name in enumerate(layers):
        end = cycles if index == len(layers) - 1 else max(before, done[index])
        block(LAYERS, name, before, end)
        before = end
    return {"displayTimeUnit": "ms", "traceEvents": events}
