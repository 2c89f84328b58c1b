"""Machines whose AXI port is narrower than a line or ends at a DRAM with rows and refresh: values,
DRAM bytes and cycles as predicted."""

from __future__ import annotations

from pathlib import Path

import pytest

from dataflow.arch import load_architecture
from dataflow.machine import Machine, machine_of
from tests.cosim.harness import compiled_network, simulated_network
from tests.cosim.random_networks import random_network
from tests.machine.ports import narrow

pytestmark = pytest.mark.rtl

SEEDS = 40


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("architectures")


def check(
    name: str, bits: int, folder: Path, seed: int, stalls: tuple[float, ...], device: str = ""
) -> None:
    """Simulates a random network; without stalls the cycles are exactly the predicted ones."""
    path = narrow(name, bits, folder, device=device)
    proto = random_network(seed, machine_of(load_architecture(name)))
    compiled = compiled_network(proto, str(path))
    for stall in stalls:
        outcome = simulated_network(compiled, seed, stall)
        assert stall or outcome.simulated == outcome.predicted


@pytest.mark.parametrize("seed", [2, 13, 66])
def test_a_32_bit_port_of_edge8_to_ddr3(seed: int, folder: Path) -> None:
    check("edge8", 32, folder, seed, (0.0, 0.3), "ddr3_1600_x16")


@pytest.mark.slow
@pytest.mark.parametrize("device", ["ddr3_1600_x16", "ddr4_2400_x64"])
@pytest.mark.parametrize("seed", range(SEEDS))
def test_edge16_with_a_dram(seed: int, device: str, folder: Path) -> None:
    check("edge16", 128, folder, seed, (0.0, (0.1, 0.3, 0.5)[seed % 3]), device)


@pytest.mark.slow
@pytest.mark.parametrize("bits", [32, 64])
@pytest.mark.parametrize("seed", range(SEEDS))
def test_narrow_ports_of_edge16(seed: int, bits: int, folder: Path) -> None:
    check("edge16", bits, folder, seed, (0.0, (0.1, 0.3, 0.5)[seed % 3]))


def wide(of: Machine) -> tuple[int, int, int]:
    return of.port_bytes, of.beats_per_line, of.max_burst_lines


def test_the_machine_knows_lines_and_beats(folder: Path) -> None:
    assert wide(machine_of(load_architecture("edge16"))) == (16, 1, 16)
    assert wide(machine_of(load_architecture(str(narrow("edge16", 64, folder))))) == (8, 2, 8)
    path = narrow("edge16", 32, folder, beats=256)
    assert wide(machine_of(load_architecture(str(path)))) == (4, 4, 64)
