"""Runs a model through lowering, builder and interpreter, and compares with `evaluate`."""

from __future__ import annotations

import random

import numpy as np
import onnx

from dataflow.evaluate import before_machine, run_machine_part
from dataflow.frontend import load_model
from dataflow.ir.cascade import Cascade
from dataflow.layers.layer import LayerGraph
from dataflow.lower import lower
from dataflow.machine import Machine
from dataflow.machine.program import Program
from dataflow.program import build
from dataflow.rewrite import legalise
from dataflow.rewrite.legal import NO_PRODUCTS, Products
from tests.program.interpret import interpret
from tests.program.mapping_tools import (
    default_tiling,
    place,
    random_tilings,
    with_sinks,
    without_conflicts,
)

Array = np.ndarray


def physical(graph: LayerGraph, name: str, value: Array) -> bytes:
    """The bytes of a tensor as they lie in memory."""
    return np.ascontiguousarray(value.transpose(graph.storage[name].layout)).tobytes()


def programs(graph: LayerGraph, machine: Machine, rng: random.Random | None) -> Program:
    """A Program under default or random tilings."""
    if rng is None:
        tilings = {layer.name: default_tiling(layer, machine) for layer in graph.layers}
        tilings = with_sinks(graph, tilings)
    else:
        tilings = random_tilings(graph, machine, rng)
    mapping = without_conflicts(graph, place(graph, tilings, machine), machine)
    return build(graph, mapping, machine)


def check_program(
    graph: LayerGraph,
    program: Program,
    machine: Machine,
    values: dict[str, Array],
    seed: int | None,
) -> None:
    """Interprets a Program: every written tensor, MACs and DRAM bytes are as predicted."""
    inputs = {
        n: physical(graph, n, values[n])
        for n, place_ in program.tensors.items()
        if place_.role == "input" and n in values
    }
    result = interpret(program, machine, inputs, seed)
    for name, place_ in program.tensors.items():
        if not place_.written or name not in values:
            continue
        got = result.dram[place_.dram : place_.dram + place_.bytes]
        want = np.frombuffer(physical(graph, name, values[name]), np.uint8)
        np.testing.assert_array_equal(got, want, err_msg=name)
    for name, storage in graph.storage.items():
        if storage.role == "output" and storage.alias_of is None:
            assert program.tensors[name].written, name
    assert result.macs == sum(c.array_macs for c in program.layers)
    assert result.read_bytes == program.dram_read_bytes
    assert result.write_bytes == program.dram_write_bytes


def lowered(proto: onnx.ModelProto, products: Products = NO_PRODUCTS) -> tuple[Cascade, LayerGraph]:
    """Import, legalise, lower."""
    cascade = legalise(load_model(proto), products=products)
    return cascade, lower(cascade)


def check_model(
    proto: onnx.ModelProto,
    inputs: dict[str, Array],
    machine: Machine,
    seed: int,
    products: Products = NO_PRODUCTS,
) -> None:
    """Default and random mappings of a model compute what `evaluate` computes."""
    cascade, graph = lowered(proto, products)
    before = before_machine(cascade, inputs)
    values = run_machine_part(cascade, {n: before[n] for n in cascade.inputs})
    for rng in (None, random.Random(seed), random.Random(seed + 1)):
        program = programs(graph, machine, rng)
        check_program(graph, program, machine, values, None if rng is None else seed)
