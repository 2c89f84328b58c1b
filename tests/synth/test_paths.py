"""The path estimate on netlists whose paths are added by hand."""

from __future__ import annotations

from typing import Any

import pytest

from tests.synth import paths


def cell(kind: str, inputs: dict[str, list[int | str]], outputs: dict[str, list[int]]) -> Any:
    return {
        "type": kind,
        "connections": {**inputs, **outputs},
        "port_directions": dict.fromkeys(inputs, "input") | dict.fromkeys(outputs, "output"),
    }


# A register, a LUT, a chain of two pairs of carries, and a register behind the upper sum.
CELLS = {
    "a.q": cell("TRELLIS_FF", {"CLK": [1], "DI": [9]}, {"Q": [2]}),
    "a.lut": cell("LUT4", {"A": [2], "B": ["0"]}, {"Z": [3]}),
    "a.low": cell("CCU2C", {"A0": [3], "CIN": ["0"]}, {"COUT": [4], "S0": [5]}),
    "a.high": cell("CCU2C", {"A0": ["0"], "CIN": [4]}, {"S1": [6]}),
    "b[3].q": cell("TRELLIS_FF", {"CLK": [1], "DI": [6], "CE": [5]}, {"Q": [7]}),
}


def test_a_path_is_the_sum_of_its_cells_and_wires() -> None:
    time, through = paths.arrivals(CELLS)
    last, enable, *_ = paths.ends(CELLS, time)
    register = paths.FLIP_FLOP + paths.WIRE
    lut = register + paths.LUT + paths.WIRE
    assert last.time == pytest.approx(lut + paths.CARRY_IN + paths.CARRY_OUT + paths.WIRE)
    assert enable.time == pytest.approx(lut + paths.CARRY_IN + paths.WIRE)
    assert (last.part, last.port) == ("b[]", "DI")
    assert paths.path(last, time, through) == [2, 3, 4, 6]


def test_the_lower_half_of_a_pair_does_not_wait_for_the_upper_one() -> None:
    pair = cell("CCU2C", {"A1": [2]}, {"S0": [3], "S1": [4]})
    assert [sink for _, sink, _ in paths.arcs(pair)] == [4]


def test_a_loop_of_gates_is_refused() -> None:
    loop = {
        "x": cell("LUT4", {"A": [2]}, {"Z": [3]}),
        "y": cell("LUT4", {"A": [3]}, {"Z": [2]}),
    }
    with pytest.raises(ValueError, match="2 nets stand in loops of gates"):
        paths.arrivals(loop)
