"""Mappings that the machine cannot run are refused with every reason."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from dataflow.arch import load_architecture
from dataflow.errors import DataflowError
from dataflow.layers.layer import LayerGraph
from dataflow.layers.legality import ports_conflict_free, verify_tiling
from dataflow.layers.plan import NetworkMapping, Placement
from dataflow.layers.tiled import TiledLayer
from dataflow.machine import machine_of
from dataflow.program.verify import verify_program
from tests.frontend import models
from tests.program.cases import lowered
from tests.program.mapping_tools import default_tiling, place, with_sinks

MACHINE = machine_of(load_architecture("edge8"))


def convolution(c: int = 8, n: int = 16, groups: int = 1, side: int = 8) -> LayerGraph:
    """A 3 x 3 convolution."""
    params: dict[str, Any] = {
        "s": np.array(0.02, np.float32),
        "z": np.array(0, np.int8),
        "w": np.ones((n, c // groups, 3, 3), np.int8),
    }
    names = ["x", "s", "z", "w", "s", "z", "s", "z"]
    proto = models.model(
        [models.node("QLinearConv", names, ["y"], pads=[1, 1, 1, 1], group=groups)],
        {"x": ((1, c, side, side), np.int8)},
        {"y": np.int8},
        params,
    )
    return lowered(proto)[1]


def mapped(graph: LayerGraph, **changes: Any) -> NetworkMapping:
    """A default mapping with some fields of the tiling changed."""
    layer = graph.layers[0]
    tiling = replace(default_tiling(layer, MACHINE), **changes)
    return place(graph, with_sinks(graph, {layer.name: tiling}), MACHINE)


def reasons(graph: LayerGraph, **changes: Any) -> list[str]:
    tiling = replace(default_tiling(graph.layers[0], MACHINE), **changes)
    return verify_tiling(TiledLayer(graph.layers[0], tiling, MACHINE))


def test_legal_tilings_have_no_reasons() -> None:
    assert reasons(convolution()) == []
    verify_program(convolution(), mapped(convolution()), MACHINE)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"order": ("p",), "tile": {"p": 9}}, "tile p=9 is not in 1..8"),
        ({"order": ("k", "p"), "tile": {"k": 4, "p": 4}}, "k must be the innermost tiled dim"),
        ({"order": ("p", "p"), "tile": {"p": 4}}, "repeats a dim"),
        ({"source_depth": 1}, "source_depth is not in 0..0"),
        ({"source": "stream", "source_slots": 0}, "a streamed source needs 1 to 15 slots"),
        ({"sink": "stream", "sink_slots": 0}, "a streamed sink needs 1 to 15 slots"),
        ({"ports": 4}, "ports is not in 1..3"),
        ({"feed": "fir"}, "the fir feed is for depthwise layers"),
        (
            {"order": ("k",), "tile": {"k": 4}, "param_depth": 1},
            "parameters do not depend on k",
        ),
    ],
)
def test_each_illegal_tiling_has_its_reason(changes: dict[str, Any], reason: str) -> None:
    assert any(reason in r for r in reasons(convolution(), **changes))


def test_accumulators_and_rings_bound_the_tile() -> None:
    graph = convolution(c=64, n=128, side=16)
    untiled = replace(
        default_tiling(graph.layers[0], MACHINE), order=(), tile={}, weight_depth=0, param_depth=0
    )
    found = verify_tiling(TiledLayer(graph.layers[0], untiled, MACHINE))
    assert "4096 accumulator lines, 256 in a half" in found
    assert any("weight lines, 3072 in the ring" in r for r in found)


def test_groups_side_by_side_must_fit_the_columns() -> None:
    graph = convolution(c=12, n=12, groups=4)
    found = reasons(graph, order=(), tile={}, group_pack=4, weight_depth=0, param_depth=0)
    assert found == ["4 groups of 3 columns on 8 columns"]


def test_fir_taps_must_fit_the_rows() -> None:
    graph = convolution(c=12, n=12, groups=12)
    found = reasons(graph, feed="fir", ports=3, fir_taps=3)
    assert found == ["3 ports of 3 taps on 8 rows"]
    assert reasons(graph, feed="fir", ports=2, fir_taps=3) == []


def test_slots_must_fit_their_buffer() -> None:
    graph = convolution()
    mapping = mapped(graph, source="stream", source_slots=2)
    name = graph.layers[0].name
    small = Placement(0, 64, 64)
    memory = replace(mapping.memory, buffers={(name, "source"): small})
    with pytest.raises(DataflowError, match="2 slots of 512 bytes for its source need more than"):
        verify_program(graph, replace(mapping, memory=memory), MACHINE)


def test_a_place_outside_the_memory_is_refused() -> None:
    graph = convolution()
    mapping = mapped(graph)
    resident = dict(mapping.memory.resident)
    resident["x"] = replace(resident["x"], offset=MACHINE.act_bytes)
    memory = replace(mapping.memory, resident=resident)
    with pytest.raises(DataflowError, match="outside the activation memory"):
        verify_program(graph, replace(mapping, memory=memory), MACHINE)


def test_padded_rows_need_a_layer_that_walks_rows() -> None:
    graph = convolution()
    mapping = mapped(graph)
    resident = dict(mapping.memory.resident)
    resident["x"] = replace(resident["x"], pitch=72, bytes=8 * 72)
    verify_program(
        graph, replace(mapping, memory=replace(mapping.memory, resident=resident)), MACHINE
    )
    pointwise = models.model(
        [models.node("QLinearSigmoid", ["x", "s", "z", "s", "z"], ["y"])],
        {"x": ((1, 3, 4, 5), np.int8)},
        {"y": np.int8},
        {"s": np.array(0.02, np.float32), "z": np.array(0, np.int8)},
    )
    graph = lowered(pointwise)[1]
    mapping = mapped(graph)
    resident = dict(mapping.memory.resident)
    resident["x"] = replace(resident["x"], pitch=24, bytes=12 * 24)
    with pytest.raises(DataflowError, match="one layer reads across"):
        verify_program(
            graph, replace(mapping, memory=replace(mapping.memory, resident=resident)), MACHINE
        )


def test_ports_conflict_when_rows_start_in_the_same_bank() -> None:
    graph = convolution(c=3)
    layer = graph.layers[0]
    tiling = replace(default_tiling(layer, MACHINE), ports=2)
    line = MACHINE.line_bytes
    # Rows 8 lines apart start in the same bank, rows 12 lines apart half the banks further.
    assert not ports_conflict_free(TiledLayer(layer, tiling, MACHINE), 0, 8 * line, 3)
    assert ports_conflict_free(TiledLayer(layer, tiling, MACHINE), 0, 12 * line, 3)
    single = TiledLayer(layer, replace(tiling, ports=1), MACHINE)
    assert ports_conflict_free(single, 0, 8 * line, 3)
