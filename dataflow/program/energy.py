"""Energy from access counts and the architecture's energies."""

from __future__ import annotations

from dataflow.layers.layer import LayerGraph
from dataflow.machine import Machine
from dataflow.machine.program import Program
from dataflow.program.accesses import Accesses, network_accesses


def layer_energy_pj(accesses: Accesses, machine: Machine) -> float:
    """Picojoules of a layer: every access and operation times its energy, no leakage."""
    e, a = machine.energies, accesses
    return (
        a.dram_bytes * e.dram_byte
        + a.act_reads * e.act_line_read
        + a.act_writes * e.act_line_write
        + a.wbuf_reads * e.wbuf_line_read
        + a.wbuf_writes * e.wbuf_line_write
        + a.param_reads * e.param_line_read
        + a.param_writes * e.param_line_write
        + a.acc_reads * e.acc_line_read
        + a.acc_writes * e.acc_line_write
        + a.macs * e.mac
        + a.vector_ops * e.vector_op
    )


def energy_pj(graph: LayerGraph, program: Program, machine: Machine) -> float:
    """Picojoules of one run: all layers, and the program's way from DRAM through its FIFO."""
    assert len(graph.layers) == len(program.layers), "the program is of another graph"
    beats = len(program.code) // machine.line_bytes
    e = machine.energies
    total = sum(layer_energy_pj(one, machine) for one in network_accesses(program, machine))
    own = len(program.code) * e.dram_byte + beats * (e.program_beat_read + e.program_beat_write)
    return total + own
