"""Resources of a machine before synthesis, from its sizes.

Multipliers and block RAM follow from the structure and are meant to be close. Look-up tables and
flip-flops are a linear model whose coefficients were read off single modules of edge8; for them the
estimate is an order of magnitude. `implement` prints both beside what synthesis finds.
"""

from __future__ import annotations

from math import ceil

from dataflow.implement.devices import Device
from dataflow.implement.resources import Resources
from dataflow.machine import Machine

# Shapes of a block RAM, (words, bits), in true dual port; with one write and one read port it can
# also be half as deep and twice as wide as the first of them.
_SMALL = ((1024, 18), (2048, 9), (4096, 4), (8192, 2), (16384, 1))
_SHAPES = {
    "ecp5": _SMALL,
    "gowin": _SMALL,
    "xilinx": ((1024, 36), (2048, 18), (4096, 9), (8192, 4), (16384, 2), (32768, 1)),
}
# (look-up tables, flip-flops) of 4-input tables; 6-input ones take about 0.6 of them.
_CONTROL = (22_000, 23_000)  # sequencers, queues, address generators, counters, the bus
_PE = (44, 46)  # multiplier apart: operands, shadow weight, partial sum
_LANE = (3_800, 1_900)  # float unit, converters, registers of a vector lane; its part of the feed
_FUNCTION = (1_600, 1_300)  # a function stage and its share of what leads there and back
_PORT_BYTE = (76, 10)  # scratchpad crossbar, for each byte of a line and bank of eight
_SIX_INPUTS = 0.6
_FLOAT_MULTIPLIERS = 3  # of a multiply-add, 24 x 24 bits; a function stage has as many
_FUNCTION_TABLES = 2  # blocks of a function stage
_COUNTER_BLOCKS = 1


def block_rams(words: int, bits: int, device: Device, *, dual: bool = False) -> int:
    """Blocks of a memory of ``words`` x ``bits``: the fewest over the shapes of a block.

    Args:
        dual: both ports read, and one of them writes; else one port writes and one reads.
    """
    shapes = _SHAPES[device.family]
    deep, wide = shapes[0]
    if not dual:
        shapes = ((deep // 2, 2 * wide), *shapes)
    return min(ceil(words / deep) * ceil(bits / wide) for deep, wide in shapes)


def estimate(machine: Machine, device: Device) -> Resources:
    """What a machine will take of a device."""
    lines = 8 * machine.line_bytes
    column = 32 * machine.cols
    bram = (
        machine.act_banks
        * block_rams(machine.act_lines // machine.act_banks, lines, device, dual=True)
        + block_rams(machine.wbuf_lines, lines, device)
        + 2 * block_rams(machine.acc_lines, column, device)
        + block_rams(machine.param_lines, column, device)
        + 5 * block_rams(machine.instr_fifo_beats, lines, device)
        + machine.functions * _FUNCTION_TABLES
        + _COUNTER_BLOCKS
    )
    pes = machine.rows * machine.cols
    dsp = (ceil(pes / 2) if device.family == "gowin" else pes) + (
        machine.cols + machine.functions
    ) * _FLOAT_MULTIPLIERS
    lut, ff = (
        _CONTROL[i]
        + pes * _PE[i]
        + machine.cols * _LANE[i]
        + machine.functions * _FUNCTION[i]
        + machine.line_bytes * machine.act_banks * _PORT_BYTE[i]
        for i in (0, 1)
    )
    return Resources(
        lut=ceil(lut * _SIX_INPUTS) if device.family == "xilinx" else lut,
        ff=ff,
        dsp=dsp,
        bram=bram,
    )
