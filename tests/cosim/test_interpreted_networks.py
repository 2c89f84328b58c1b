"""Random networks through the interpreter of programs: what is wrong before any hardware runs.

The interpreter executes the packed instructions with the engines interleaved at random, so that a
wait that the compiler forgot shows as a wrong byte, and poisons memory that nothing has written.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any

import numpy as np
import pytest

from dataflow.cosim.job import pack_tensor
from dataflow.evaluate import before_machine, run_machine_part
from dataflow.flow import Compiled
from tests.cosim.harness import compiled_network, machine
from tests.cosim.inputs import random_inputs
from tests.cosim.random_networks import THEMES, random_network
from tests.program.interpret import interpret

ARCHITECTURES = ("edge8", "edge16", "edge32")
LARGE = 60_000
"""Elements beyond which a tensor is left to the RTL: the interpreter is Python."""


def largest(compiled: Compiled) -> int:
    """Elements of the largest tensor."""
    return max(prod(tensor.shape) for tensor in compiled.cascade.tensors.values())


def check(compiled: Compiled, seed: int, inputs: Mapping[str, Any] | None = None) -> None:
    """Every tensor in DRAM equals ``evaluate()`` and all counts are as predicted.

    Args:
        inputs: by name; random ones unless they are given.
    """
    cascade, program = compiled.cascade, compiled.program
    before = before_machine(cascade, inputs or random_inputs(cascade, seed))
    values = run_machine_part(cascade, {name: before[name] for name in cascade.inputs})
    places = program.tensors.values()
    given = {p.name: pack_tensor(values[p.name], p) for p in places if p.role == "input"}
    for order in (None, seed):
        result = interpret(program, compiled.machine, given, order)
        for place in places:
            if place.written:
                found = result.dram[place.dram : place.dram + place.bytes]
                expected = np.frombuffer(pack_tensor(values[place.name], place), np.uint8)
                np.testing.assert_array_equal(found, expected, err_msg=place.name)
        assert result.macs == sum(layer.array_macs for layer in program.layers)
        assert result.read_bytes == program.dram_read_bytes
        assert result.write_bytes == program.dram_write_bytes


def run(seed: int) -> None:
    """One seed, the architecture in turn; networks too large for the interpreter only compile."""
    arch = ARCHITECTURES[seed // len(THEMES) % len(ARCHITECTURES)]
    compiled = compiled_network(random_network(seed, machine(arch)), arch)
    if largest(compiled) <= LARGE:
        check(compiled, seed)


@pytest.mark.parametrize("theme", range(len(THEMES)))
def test_program_computes_what_evaluate_computes(theme: int) -> None:
    for round_ in range(len(ARCHITECTURES)):
        run(theme + round_ * len(THEMES))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3 * len(THEMES), 600))
def test_program_computes_what_evaluate_computes_in_all_seeds(seed: int) -> None:
    run(seed)
