"""Tensors that stay on the chip: read back from the activation memory of the simulation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dataflow.cosim.job import pack_tensor
from dataflow.layers.layer import LayerGraph
from dataflow.layers.plan import NetworkMapping
from dataflow.machine import Machine
from dataflow.machine.program import TensorPlace
from dataflow.program.addressing import storage_row_bytes

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Resident:
    """A tensor that a layer leaves in the activation memory.

    Attributes:
        layer: the last layer that writes it; its bytes are complete when that layer retires.
        offset: first byte; pitch: bytes from row to row; row_bytes: bytes of a row.
    """

    name: str
    layer: int
    offset: int
    pitch: int
    row_bytes: int
    bytes: int
    shape: tuple[int, ...]
    layout: tuple[int, ...]
    signed: bool


def residents(graph: LayerGraph, mapping: NetworkMapping) -> tuple[Resident, ...]:
    """Every tensor that some layer writes to the activation memory for good."""
    last: dict[str, int] = {}
    for index, layer in enumerate(graph.layers):
        if mapping.tilings[layer.name].sink != "stream":
            last[layer.output.tensor] = index
    found = []
    for name, index in last.items():
        storage, place = graph.storage[name], mapping.memory.resident[name]
        found.append(
            Resident(
                name=name,
                layer=index,
                offset=place.offset,
                pitch=place.pitch,
                row_bytes=storage_row_bytes(storage),
                bytes=storage.bytes,
                shape=storage.shape,
                layout=storage.layout,
                signed=storage.signed,
            )
        )
    return tuple(found)


def read_taps(folder: Path, machine: Machine) -> Array:
    """Activation memory at each retirement of a vector instruction: (retirements, bytes)."""
    rows = machine.act_lines // machine.act_banks
    banks = [
        np.fromfile(folder / f"taps.{bank}", np.uint8).reshape(-1, rows, machine.line_bytes)
        for bank in range(machine.act_banks)
    ]
    return np.stack(banks, axis=2).reshape(len(banks[0]), -1)


def remove_taps(folder: Path) -> None:
    """Removes the dumps, which are large."""
    for path in folder.glob("taps.*"):
        path.unlink()


def tap_mismatches(
    taps: Array,
    vector_layers: Sequence[int],
    tensors: Sequence[Resident],
    values: Mapping[str, Array],
) -> dict[str, int]:
    """Differing bytes of each on-chip tensor.

    Args:
        taps: as `read_taps`.
        vector_layers: layer of each retirement, in order.
        values: golden tensors by name.
    """
    result = {}
    for tensor in tensors:
        if tensor.name not in values:  # a copy that the lowering made
            continue
        moment = len(vector_layers) - 1 - list(vector_layers)[::-1].index(tensor.layer)
        place = TensorPlace(
            tensor.name, 0, tensor.bytes, tensor.shape, tensor.layout, tensor.signed, "", True
        )
        golden = np.frombuffer(pack_tensor(values[tensor.name], place), np.uint8)
        rows = -(-tensor.bytes // tensor.row_bytes)
        index = (
            tensor.offset
            + np.arange(rows)[:, None] * tensor.pitch
            + np.arange(tensor.row_bytes)[None, :]
        ).reshape(-1)[: tensor.bytes]
        result[tensor.name] = int((taps[moment][index] != golden).sum())
    return result
