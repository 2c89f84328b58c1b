"""What the C simulation reads: the weight image and the tensors, in the bytes of the DRAM."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from dataflow.layers.layer import Layer, LayerGraph, Storage
from dataflow.layers.plan import NetworkMapping

ALIGNMENT = 64
"""Bytes: every array of the weight image starts on a multiple of it."""


@dataclass(frozen=True)
class LayerConstants:
    """Byte offsets in the weight image of a layer's constants; -1 where it has none.

    Attributes:
        codes: stationary operand, (taps_r, taps_s, groups) bytes where :func:`by_taps`, else for
            each group and tile of n columns (taps_r, taps_s, c, columns): a tile's lie together.
        zeros: its zero points, one int32 for each output channel.
        params: per-channel 32-bit vectors, in the order of `Layer.params`.
    """

    codes: int
    zeros: int
    params: tuple[int, ...]


@dataclass(frozen=True)
class Image:
    """The weight image."""

    data: bytes
    layers: tuple[LayerConstants, ...]


def by_taps(layer: Layer) -> bool:
    """Groups of one channel (depthwise): those of a tap stand together, as array columns do."""
    return layer.groups > 1 and layer.c == layer.n == 1


def _by_tiles(weights: np.ndarray, columns: int) -> np.ndarray:
    """(groups, taps_r, taps_s, c, n) as bytes, tile after tile of ``columns`` columns."""
    n = weights.shape[4]
    groups = [
        [group[..., first : first + columns].ravel() for first in range(0, n, columns)]
        for group in weights
    ]
    return np.concatenate([tile for tiles in groups for tile in tiles])


def weight_image(graph: LayerGraph, mapping: NetworkMapping) -> Image:
    """All constants of all layers, in order."""
    data = bytearray()

    def append(values: np.ndarray) -> int:
        data.extend(bytes(-len(data) % ALIGNMENT))
        offset = len(data)
        data.extend(np.ascontiguousarray(values).tobytes())
        return offset

    layers = []
    for layer in graph.layers:
        codes, zeros = -1, -1
        stationary = layer.stationary
        if stationary is not None and stationary.view is None:
            weights = np.asarray(graph.weights[stationary.tensor])
            shape = (layer.groups, layer.taps_r, layer.taps_s, layer.c, layer.n)
            assert weights.shape == shape, f"{layer.name}: weights {weights.shape}, not {shape}"
            columns = min(layer.n, mapping.tilings[layer.name].tile.get("n", layer.n))
            weights = (
                weights.transpose(1, 2, 0, 3, 4) if by_taps(layer) else _by_tiles(weights, columns)
            )
            codes = append((weights.astype(np.int64) & 255).astype(np.uint8))
        if stationary is not None and len(set(stationary.zero)) > 1:
            assert len(stationary.zero) == layer.groups * layer.n, f"{layer.name}: zero points"
            zeros = append(np.array(stationary.zero, dtype="<i4"))
        params = []
        for name in layer.params:
            vector = np.asarray(graph.params[name])
            assert vector.shape == (layer.groups * layer.n,), f"{layer.name}: {name}"
            assert vector.dtype in (np.int32, np.float32), f"{layer.name}: {vector.dtype}"
            params.append(append(vector.astype(vector.dtype.newbyteorder("<"))))
        layers.append(LayerConstants(codes, zeros, tuple(params)))
    data.extend(bytes(-len(data) % ALIGNMENT))
    return Image(bytes(data), tuple(layers))


def root(graph: LayerGraph, tensor: str) -> str:
    """The tensor whose bytes ``tensor`` names."""
    storage = graph.storage[tensor]
    while storage.alias_of is not None:
        storage = graph.storage[storage.alias_of]
    return storage.name


@dataclass(frozen=True)
class Tap:
    """A look at a finished tensor: ``on_chip`` tells in which memory, ``offset`` where."""

    on_chip: bool
    offset: int


@dataclass(frozen=True)
class TensorFile:
    """A tensor of the machine part that has bytes of its own.

    Attributes:
        index: its number; ``file`` is named after it.
        name: in the cascade.
        storage: shape and layout.
        dram: offset in the DRAM, or -1 when it never gets there.
        written_by: index of the layer that completes it, or -1 for inputs and constants.
        taps: where it is looked at then.
    """

    index: int
    name: str
    storage: Storage
    dram: int
    written_by: int
    taps: tuple[Tap, ...]

    @property
    def file(self) -> str:
        """File of its bytes: what is loaded, or what is expected."""
        return f"tensor_{self.index:03d}.bin"


@dataclass(frozen=True)
class TensorRow:
    """A line of the project's ``tensors.json``: what a reader needs of a :class:`TensorFile`.

    A tensor that has the same bytes as another (``alias_of``) has a line with the other's file.

    Attributes:
        index, name, file, dram: as there.
        role: of its storage.
        shape, layout, signed: of its storage.
        checked: a layer writes it, and it is compared.
        constant: its bytes are part of the project.
        alias_of: the tensor whose bytes it names, or None.
    """

    index: int
    name: str
    file: str
    dram: int
    role: str
    shape: tuple[int, ...]
    layout: tuple[int, ...]
    signed: bool
    checked: bool
    constant: bool
    alias_of: str | None

    def to_bytes(self, value: np.ndarray) -> bytes:
        """Codes of the logical shape in memory order."""
        codes = (np.asarray(value).astype(np.int64) & 255).astype(np.uint8).reshape(self.shape)
        return np.ascontiguousarray(codes.transpose(self.layout)).tobytes()

    def from_bytes(self, data: bytes) -> np.ndarray:
        """The inverse of :meth:`to_bytes`: int8 or uint8."""
        physical = [self.shape[axis] for axis in self.layout]
        codes = np.frombuffer(data, dtype=np.int8 if self.signed else np.uint8).reshape(physical)
        return np.ascontiguousarray(codes.transpose(np.argsort(self.layout)))


def _region(graph: LayerGraph, table: Mapping[str, object], tensor: str) -> object | None:
    """The entry of a memory map for a tensor, under its own name or one of the same bytes."""
    if tensor in table:
        return table[tensor]
    base = root(graph, tensor)
    same = (name for name in sorted(table) if name in graph.storage)
    return next((table[name] for name in same if root(graph, name) == base), None)


@dataclass(frozen=True)
class MemoryPlan:
    """Offsets of the tensors, dense, by the mapping's memory map."""

    graph: LayerGraph
    mapping: NetworkMapping

    def dram(self, tensor: str) -> int:
        """Byte offset in the DRAM; -1 when the tensor is never there."""
        place = _region(self.graph, self.mapping.memory.dram, tensor)
        return place if isinstance(place, int) else -1

    def chip(self, tensor: str) -> int:
        """Byte offset in the on-chip memory; -1 when the tensor is never there."""
        place = _region(self.graph, self.mapping.memory.resident, tensor)
        offset = getattr(place, "offset", -1)
        return int(offset)

    def _used(self, table: Mapping[str, object]) -> list[str]:
        return [name for name in table if name in self.graph.storage]

    @property
    def dram_bytes(self) -> int:
        """Size of the tensors' part of the DRAM."""
        memory, storage = self.mapping.memory.dram, self.graph.storage
        return max((memory[n] + storage[n].bytes for n in self._used(memory)), default=1)

    @property
    def chip_bytes(self) -> int:
        """Size of the on-chip memory that the resident tensors need."""
        memory, storage = self.mapping.memory.resident, self.graph.storage
        ends = (memory[n].offset + storage[n].bytes for n in self._used(memory))
        return max(ends, default=1)


def tensor_files(graph: LayerGraph, mapping: NetworkMapping) -> tuple[TensorFile, ...]:
    """Every tensor that is loaded or checked, in order of name."""
    plan = MemoryPlan(graph, mapping)
    writers: dict[str, int] = {}
    for index, layer in enumerate(graph.layers):
        writers[root(graph, layer.output.tensor)] = index
    files: list[TensorFile] = []
    for name in sorted(n for n, s in graph.storage.items() if s.alias_of is None):
        storage, writer = graph.storage[name], writers.get(name, -1)
        taps = _taps(plan, graph.layers[writer], mapping) if writer >= 0 else ()
        dram = plan.dram(name)
        if writer < 0 and dram < 0:
            continue  # a constant that no layer reads from memory
        files.append(TensorFile(len(files), name, storage, dram, writer, taps))
    return tuple(files)


def _taps(plan: MemoryPlan, layer: Layer, mapping: NetworkMapping) -> tuple[Tap, ...]:
    sink = mapping.tilings[layer.name].sink
    taps = []
    if sink in ("stream", "both"):
        taps.append(Tap(False, plan.dram(layer.output.tensor)))
    if sink in ("resident", "both"):
        taps.append(Tap(True, plan.chip(layer.output.tensor)))
    return tuple(taps)
