"""Where the cycles of a run went: the time line, and the causes."""

from __future__ import annotations

from dataflow.cosim.rtl import Retired
from dataflow.cosim.simulate import cycles_by_cause
from dataflow.cosim.trace import trace
from dataflow.machine.isa import Unit


def retired(unit: Unit, layer: int, cycle: int) -> Retired:
    return Retired(unit, layer, {"cycles": cycle})


def test_blocks_end_with_the_retirement() -> None:
    run = [
        retired(Unit.LOAD, 0, 10),
        retired(Unit.ARRAY, 0, 25),
        retired(Unit.LOAD, 1, 30),
        retired(Unit.ARRAY, 1, 60),
    ]
    document = trace(run, ["first", "second"], 70)
    names = {
        event["tid"]: event["args"]["name"]
        for event in document["traceEvents"]
        if event["ph"] == "M"
    }
    blocks = [
        (names[event["tid"]], event["name"], event["ts"], event["ts"] + event["dur"])
        for event in document["traceEvents"]
        if event["ph"] == "X"
    ]
    assert blocks == [
        ("load", "first", 0, 10),
        ("array", "first", 0, 25),
        ("load", "second", 10, 30),
        ("array", "second", 25, 60),
        ("layers", "first", 0, 25),
        ("layers", "second", 25, 70),
    ]


def test_a_layer_without_instructions_takes_no_time() -> None:
    document = trace([retired(Unit.LOAD, 1, 5)], ["alias", "copy"], 9)
    layers = [e for e in document["traceEvents"] if e["ph"] == "X" and e["tid"] == 0]
    assert [(e["name"], e["ts"], e["dur"]) for e in layers] == [("alias", 0, 0), ("copy", 0, 9)]


def test_every_cycle_has_one_cause() -> None:
    counts = {
        "cycles": 100,
        "array_steps": 60,
        "array_wait_tile": 5,
        "array_wait_acc": 7,
        "array_wait_weights": 9,
    }
    assert cycles_by_cause(counts, macs=641, units=16) == {
        "full": 41,
        "unfilled": 19,
        "tile": 5,
        "accumulator": 7,
        "weights": 9,
        "idle": 19,
    }
