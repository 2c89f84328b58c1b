"""Programs under default and random tilings, executed and compared with `evaluate` bit for bit.

Each case draws tile sizes, loop orders, buffer depths, slots, feeds and placements that the machine
can express, whether or not they are any good.
"""

from __future__ import annotations

import copy
import importlib
import random
from dataclasses import replace
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import numpy_helper

from dataflow.arch import load_architecture
from dataflow.errors import DataflowError
from dataflow.frontend import load_model
from dataflow.lower import lower
from dataflow.machine import Machine, machine_of
from dataflow.machine.decode import STRUCT_OF, checksum, decode, sealed
from dataflow.machine.isa import Unit, violations
from dataflow.program import build
from dataflow.rewrite import legalise
from dataflow.rewrite.legal import Products
from tests.frontend import models
from tests.program.blocks import BLOCKS
from tests.program.cases import check_model, lowered, programs
from tests.program.mapping_tools import default_tiling, place, with_sinks
from tests.program.networks import random_network
from tests.program.rows import far_apart, in_lanes, random_masked, random_reduction, random_rows

MACHINES = [machine_of(load_architecture(name)) for name in ("edge8", "edge16")]

OPERATORS = [
    ("test_qlinear_random", "convolutions"),
    ("test_qlinear_random", "products"),
    ("test_qlinear_random", "pairs"),
    ("test_qlinear_random", "joins"),
    ("test_qlinear_random", "averages"),
    ("test_qlinear_random", "maxima"),
    ("test_qdq_random", "convolutions"),
    ("test_qdq_random", "pairs"),
    ("test_qdq_random", "averages"),
    ("test_qdq_random", "maxima"),
    ("test_qdq_random", "joins"),
    ("test_views", "to_products"),
    ("test_views", "to_sums"),
    ("test_views", "to_outputs"),
    ("test_views", "to_windows"),
    ("test_views", "to_joins"),
]


def has_channel_zero_points(proto: onnx.ModelProto) -> bool:
    """A product of two activations, one with different zero points per channel."""
    inputs = {i.name for i in proto.graph.input}
    constants = {t.name: numpy_helper.to_array(t) for t in proto.graph.initializer}
    return any(
        node.op_type == "QLinearMatMul"
        and node.input[3] in inputs
        and len(np.unique(constants[node.input[5]])) > 1
        for node in proto.graph.node
    )


def one_case(module: str, name: str, examples: int) -> None:
    """Random operators of a front-end strategy under random tilings."""
    cases = getattr(importlib.import_module(f"tests.frontend.{module}"), name)

    @given(cases(), st.integers(0, 10**6), st.sampled_from(MACHINES))
    @settings(max_examples=examples)
    def run(case: Any, seed: int, machine: Any) -> None:
        proto, inputs = case
        if has_channel_zero_points(proto):
            with pytest.raises(DataflowError, match="an activation has a zero point per channel"):
                check_model(proto, inputs, machine, seed)
        else:
            check_model(proto, inputs, machine, seed)

    run()


@pytest.mark.parametrize(("module", "name"), OPERATORS)
def test_random_operators_compute_what_evaluate_computes(module: str, name: str) -> None:
    one_case(module, name, 40)


@pytest.mark.slow
@pytest.mark.parametrize(("module", "name"), OPERATORS)
def test_many_random_operators_compute_what_evaluate_computes(module: str, name: str) -> None:
    one_case(module, name, 200)


@pytest.mark.parametrize("seed", range(16))
def test_random_networks_compute_what_evaluate_computes(seed: int) -> None:
    check_model(*random_network(seed), MACHINES[seed % 2], seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 400))
def test_many_random_networks_compute_what_evaluate_computes(seed: int) -> None:
    check_model(*random_network(seed), MACHINES[seed % 2], seed)


@pytest.mark.parametrize("seed", range(20))
def test_random_rows_and_functions_compute_what_evaluate_computes(seed: int) -> None:
    check_model(*random_rows(seed), MACHINES[seed % 2], seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 600))
def test_many_random_rows_and_functions_compute_what_evaluate_computes(seed: int) -> None:
    check_model(*random_rows(seed), MACHINES[seed % 2], seed)


def check_in_lanes(seed: int) -> None:
    machine = MACHINES[seed % 2]
    check_model(*in_lanes(seed), machine, seed, Products(machine.cols, True, True))


@pytest.mark.parametrize("seed", range(10))
def test_rows_in_the_lanes_compute_what_evaluate_computes(seed: int) -> None:
    check_in_lanes(seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 600))
def test_many_rows_in_the_lanes_compute_what_evaluate_computes(seed: int) -> None:
    check_in_lanes(seed)


@pytest.mark.parametrize("seed", range(8))
def test_random_masked_softmaxes_compute_what_evaluate_computes(seed: int) -> None:
    check_model(*random_masked(seed), MACHINES[seed % 2], seed)


@pytest.mark.parametrize("seed", range(4))
def test_softmaxes_of_scores_far_apart_compute_what_evaluate_computes(seed: int) -> None:
    check_model(*far_apart(seed), MACHINES[seed % 2], seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 300))
def test_many_random_masked_softmaxes_compute_what_evaluate_computes(seed: int) -> None:
    check_model(*random_masked(seed), MACHINES[seed % 2], seed)


@pytest.mark.parametrize("seed", [*range(6), 8, 21])  # 8, 21: groups that lie in several rows
def test_random_reductions_compute_what_evaluate_computes(seed: int) -> None:
    check_model(*random_reduction(seed), MACHINES[seed % 2], seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 300))
def test_many_random_reductions_compute_what_evaluate_computes(seed: int) -> None:
    check_model(*random_reduction(seed), MACHINES[seed % 2], seed)


@pytest.mark.parametrize("name", BLOCKS)
def test_parts_of_transformers_compute_what_evaluate_computes(name: str) -> None:
    for seed in range(2):
        check_model(*BLOCKS[name](seed), MACHINES[seed % 2], seed)


def test_same_mapping_gives_the_same_bytes() -> None:
    made = []
    for _ in range(2):
        _, graph = lowered(random_network(5)[0])
        made.append(programs(graph, MACHINES[1], random.Random(5)))
    assert made[0].code == made[1].code
    assert made[0].image == made[1].image


def test_the_size_of_a_program_does_not_grow_with_its_tiles() -> None:
    proto = models.model(
        [models.node("MaxPool", ["x"], ["y"], kernel_shape=[2, 2])],
        {"x": ((1, 32, 40, 40), np.int8)},
        {"y": np.int8},
        {},
    )
    _, graph = lowered(proto)
    machine = MACHINES[1]
    sizes = []
    for tile in (39, 7, 1):
        tiling = replace(
            default_tiling(graph.layers[0], machine), order=("p", "q"), tile={"p": tile, "q": tile}
        )
        tilings = with_sinks(graph, {graph.layers[0].name: tiling})
        sizes.append(len(build(graph, place(graph, tilings, machine), machine).code))
    assert len(set(sizes)) == 1


def test_instructions_come_in_the_order_of_the_engines() -> None:
    _, graph = lowered(random_network(1)[0])
    program = programs(graph, MACHINES[0], None)
    units = [
        (d.fields["header"]["layer"], int(d.unit)) for d in decode(program.code, program.line_bytes)
    ]
    assert units[:-1] == sorted(units[:-1])
    assert units[-1][1] == Unit.END
    assert sealed(program.code, program.line_bytes) == program.code


@pytest.mark.parametrize("machine", MACHINES, ids=lambda one: one.name)
def test_the_machine_takes_every_field(machine: Machine) -> None:
    """What the builder writes is what the hardware accepts (`isa.violations`)."""
    _, graph = lowered(random_network(2)[0])
    program = programs(graph, machine, None)
    for one in decode(program.code, program.line_bytes):
        if one.unit is not Unit.END:
            assert list(violations(STRUCT_OF[one.unit], one.fields, machine)) == []


def test_values_that_the_machine_refuses() -> None:
    machine = MACHINES[0]
    _, graph = lowered(random_network(1)[0])
    code = programs(graph, machine, None).code
    first = next(iter(decode(code, machine.line_bytes)))
    for path, value, refused in (
        ("header.flags", 1, True),
        ("header.layer", 9, False),
        ("trips", [1, 1, 0, 1, 1, 1], True),
        ("k_level", 6, True),
        ("k_level", 7, False),
        ("source.tile.depth", 7, True),
        ("source.tile.ready.event", 15, True),
    ):
        fields = copy.deepcopy(first.fields)
        *groups, name = path.split(".")
        group = fields
        for part in groups:
            group = group[part]
        group[name] = value
        found = list(violations(STRUCT_OF[first.unit], fields, machine))
        assert found == ([path] if refused else []), path


def test_a_flag_asks_for_fields() -> None:
    machine = MACHINES[0]
    _, graph = lowered(random_network(2)[0])
    code = programs(graph, machine, None).code
    fields = next(d for d in decode(code, machine.line_bytes) if d.unit is Unit.ARRAY).fields
    without = dict(fields) | {"fir_taps": 0, "fir_stride": 0}
    found = [
        list(violations(STRUCT_OF[Unit.ARRAY], without | {"fir": on}, machine)) for on in (0, 1)
    ]
    assert found == [[], ["fir_taps", "fir_stride"]]


def test_the_checksum_rolls_over_every_word() -> None:
    assert checksum(b"") == 0
    assert checksum(bytes([1, 0, 0, 0])) == 1
    assert checksum(bytes([1, 0, 0, 0, 0, 0, 0, 0])) == 2
    assert checksum(bytes([0, 0, 0, 128, 0, 0, 0, 0])) == 1
    assert checksum(bytes([1, 0, 0, 0, 2, 0, 0, 0])) == 0


def test_decoded_fields_are_those_that_were_packed() -> None:
    _, graph = lowered(random_network(2)[0])
    program = programs(graph, MACHINES[1], random.Random(3))
    found = list(decode(program.code, program.line_bytes))
    assert len(found) == len(program.instructions)
    for packed, instruction in zip(found, program.instructions, strict=True):
        assert packed.unit is instruction.unit
        assert packed.payload.startswith(instruction.payload)
        for name, value in instruction.fields.items():
            if isinstance(value, int):
                assert packed.fields[name] == value, name


def test_a_tensor_without_a_place_is_reported() -> None:
    _, graph = lowered(random_network(1)[0])
    machine = MACHINES[0]
    tilings = {layer.name: default_tiling(layer, machine) for layer in graph.layers}
    mapping = place(graph, with_sinks(graph, tilings), machine)
    lost = graph.layers[0].source.tensor
    memory = replace(
        mapping.memory,
        resident={n: p for n, p in mapping.memory.resident.items() if n != lost},
    )
    with pytest.raises(DataflowError, match=r"has no place on chip"):
        build(graph, replace(mapping, memory=memory), machine)


def test_lowering_does_not_change_the_cascade() -> None:
    cascade = legalise(load_model(random_network(3)[0]))
    before = (dict(cascade.tensors), cascade.einsums)
    lower(cascade)
    assert (dict(cascade.tensors), cascade.einsums) == before
