"""The Program: what the machine executes and the DRAM images that it runs on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dataflow.machine.isa import Unit, Value

PAGE = 4096


def tensors_address(code_bytes: int) -> int:
    """Where a driver puts the tensors: on the page behind the program, which starts at 0."""
    return -(-code_bytes // PAGE) * PAGE


@dataclass(frozen=True)
class Instruction:
    """One instruction.

    Attributes:
        unit: engine that executes it.
        layer: index of its layer; the END instruction has the number of layers.
        fields: values of the engine's fixed fields, as `isa.pack` takes them.
        payload: bytes behind the fixed fields (vector: micro-operations, then the table).
    """

    unit: Unit
    layer: int
    fields: Mapping[str, Value]
    payload: bytes = b""


@dataclass(frozen=True)
class TensorPlace:
    """A tensor that has bytes in DRAM.

    Attributes:
        dram: byte offset behind the tensor base pointer.
        bytes: dense size.
        shape: logical shape, as in the Cascade.
        layout: physical order of the logical dimensions, outermost first.
        signed: int8 when true, else uint8.
        role: input, output, constant or intermediate (spilled).
        written: whether the program itself writes it.
    """

    name: str
    dram: int
    bytes: int
    shape: tuple[int, ...]
    layout: tuple[int, ...]
    signed: bool
    role: str
    written: bool


@dataclass(frozen=True)
class LayerCounts:
    """What the counters of the machine will show for a layer: exact integers.

    Attributes:
        macs: nominal multiply-accumulates (those of the network).
        array_macs: multiply-accumulates that the array counts (mapping padding of packed or
            unit-weight layers included).
        array_passes, array_steps: passes and feed steps, summed over tiles.
        weight_bytes, param_bytes, source_bytes, second_bytes: DRAM bytes read, by load kind.
        store_bytes: DRAM bytes written.
        events: how often each event of `isa.Event` is counted, by name; zero ones left out.
    """

    name: str
    macs: int
    array_macs: int
    array_passes: int
    array_steps: int
    weight_bytes: int
    param_bytes: int
    source_bytes: int
    second_bytes: int
    store_bytes: int
    events: Mapping[str, int]

    @property
    def dram_read_bytes(self) -> int:
        """All tensor bytes read from DRAM (the program is counted apart)."""
        return self.weight_bytes + self.param_bytes + self.source_bytes + self.second_bytes


@dataclass(frozen=True)
class Program:
    """A network made concrete for one machine.

    Attributes:
        name: of the network.
        arch: name of the machine.
        line_bytes: bytes of a beat; the code is a whole number of beats.
        instructions: in program order, END last.
        code: the packed instructions.
        image: constant bytes (weights, parameters, constant tensors) for DRAM offset image_base.
        image_base: offset behind the tensor base pointer.
        dram_bytes: size of the region behind the tensor base pointer, tensors and image.
        tensors: every tensor with bytes in DRAM, by name.
        layers: exact counts, in order.
    """

    name: str
    arch: str
    line_bytes: int
    instructions: tuple[Instruction, ...]
    code: bytes
    image: bytes
    image_base: int
    dram_bytes: int
    tensors: Mapping[str, TensorPlace]
    layers: tuple[LayerCounts, ...]

    @property
    def write_region(self) -> tuple[int, int]:
        """(first byte, end) behind the tensor base pointer of what the program may write."""
        places = [place for place in self.tensors.values() if place.written]
        if not places:
            return 0, 0
        return min(p.dram for p in places), max(p.dram + p.bytes for p in places)

    @property
    def dram_read_bytes(self) -> int:
        """Tensor bytes read, whole network."""
        return sum(layer.dram_read_bytes for layer in self.layers)

    @property
    def dram_write_bytes(self) -> int:
        """Tensor bytes written, whole network."""
        return sum(layer.store_bytes for layer in self.layers)
