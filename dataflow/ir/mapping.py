"""Layers (fusion groups) and their Mapping: how each is tiled, placed and ordered on the machine.

A `Layer` is what the machine executes as one unit: an array Einsum with the elementwise Einsums
fused behind it, or a vector Einsum (pooling, elementwise, copy) alone. A `Tiling` says how; a
`MemoryMap` says where tensors and buffers stand in the activation memory and in DRAM. All byte
quantities are plain integers; sizes are in elements of 8 bits unless a name says otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping as MappingType
from dataclasses import dataclass, field
from typing import Literal

from dataflow.ir.isa import Op, Operand

Dim = Literal["b", "g", "p", "q", "n", "k"]
DIMS: tuple[Dim, ...] = ("b", "g", "p", "q", "n", "k")


@dataclass(frozen=True)
class View:
    """A layer's access to a tensor as rows and columns of channel vectors, in dense DRAM storage.

    Element (b, y, x, c) stands `offset + b*b_bytes + y*y_bytes + x*x_bytes + c` bytes behind the
    tensor's start. A stride of 0 broadcasts; `splat` broadcasts one byte over all channels.
    """

    tensor: str
    shape: tuple[int, int, int, int]  # b, y, x, c
    b_bytes: int
    y_bytes: int
    x_bytes: int
    offset: int = 0
    splat: bool = False

    @property
    def dense(self) -> bool:
        """True when the view covers one contiguous block in (b, y, x, c) order."""
        b, y, x, c = self.shape
        return (
            (self.x_bytes == c or x * y * b == 1)
            and (self.y_bytes == x * c or y * b == 1)
            and (self.b_bytes == y * x * c or b == 1)
        )


@dataclass(frozen=True)
class MicroOp:
    """One vector micro-operation; fields as `isa.MICRO_OP`."""

    op: Op
    a: Operand | int
    b: Operand | int = Operand.ZERO
    c: Operand | int = Operand.ZERO
    a_float: bool = False
    b_float: bool = False
    a_negate: bool = False
    b_negate: bool = False
    c_negate: bool = False
    to_int: tuple[int, int, int] | None = None  # zero, lo, hi
    dst: int | None = None
    sink: bool = False
    first_b: bool = False
    depends: bool = False


@dataclass(frozen=True)
class MicroProgram:
    """Vector program of a layer: constants are binary32 or int32 bit patterns (uint32)."""

    init: tuple[MicroOp, ...]
    body: tuple[MicroOp, ...]
    final: tuple[MicroOp, ...]
    constants: tuple[int, ...] = ()
    table: bytes | None = None


@dataclass(frozen=True)
class Stationary:
    """The array's stationary operand: a constant, or an activation view.

    Constant: `tensor` names an entry of `LayerGraph.weights`, an int16 array of shape
    (groups, taps_r, taps_s, c, n): the raw codes; `zero` one int per output channel or one in all.
    Activation: `view` with y = reduction (c) and contiguous output channels (n); transposed: with
    x = output channel and contiguous reduction.
    """

    tensor: str
    zero: tuple[int, ...]
    signed: bool
    view: View | None = None
    transposed: bool = False


@dataclass(frozen=True)
class Layer:
    """One unit of execution. Geometry is per batch item; channels n and c are per group.

    Output point (b, p, q, n); array reads source (b, p*stride_p + r*dilation_r - pad_p, ...).
    """

    name: str
    kind: Literal["array", "vector"]
    einsums: tuple[str, ...]
    batch: int
    groups: int
    p: int
    q: int
    n: int  # output channels per group
    source: View  # array operand or vector S0
    output: View
    micro: MicroProgram
    taps_r: int = 1
    taps_s: int = 1
    c: int = 1  # reduction channels per group (array)
    stride_p: int = 1
    stride_q: int = 1
    dilation_r: int = 1
    dilation_s: int = 1
    pad_p: int = 0  # rows above / left of the tensor that the window may reach
    pad_q: int = 0
    source_zero: int = 0
    source_signed: bool = True
    pad_value: int = 0  # vector S0 outside the tensor, after the zero point
    stationary: Stationary | None = None
    bias: str | None = None  # LayerGraph.params, int32 (groups*n,)
    scale: str | None = None  # LayerGraph.params, float32 (groups*n,)
    second: View | None = None  # vector S1: residual, other operand, constant
    second_zero: int = 0
    second_signed: bool = True
    second_words: bool = False  # S1 is 32-bit words, one for all lanes, `second_use` bytes apart
    second_use: int = 0
    macs: int = 0  # nominal
    # Vector: elementwise over dense tensors, seen as rows of lanes. Then batch = groups = p =
    # n = 1, q counts bytes and each view has shape (1, 1, q, 1) (or splat with strides 0).
    flat: bool = False

    @property
    def reduction(self) -> int:
        """Length of the array reduction per output value."""
        return self.taps_r * self.taps_s * self.c


@dataclass(frozen=True)
class Storage:
    """A tensor of the machine part: dense bytes in DRAM in `layout` order of its ranks."""

    name: str
    shape: tuple[int, ...]  # logical shape, as in the Cascade
    layout: tuple[int, ...]  # permutation: physical order of the logical ranks, outermost first
    bytes: int
    role: Literal["input", "output", "constant", "intermediate"]
    signed: bool = True
    alias_of: str | None = None  # same bytes as another tensor (a reshape that moves nothing)


@dataclass(frozen=True)
class LayerGraph:
    """The legalised Cascade as the machine sees it."""

    name: str
    layers: tuple[Layer, ...]
    storage: MappingType[str, Storage]
    weights: MappingType[str, object] = field(default_factory=dict)  # numpy arrays
    params: MappingType[str, object] = field(default_factory=dict)
    constants: MappingType[str, bytes] = field(default_factory=dict)  # storage of constant tensors


@dataclass(frozen=True)
class Tiling:
    """How one layer runs. `order` lists the tiled dims outermost first; k, when tiled, is last.

    Untiled dims have tile = full extent and are not in `order`. `*_depth` count positions in
    `order`: the tile is (re)loaded whenever one of order[:depth] steps; it covers one tile of each
    dim in order[:depth] and the whole of every other dim. b is tiled by 1 when batch > 1. A flat
    vector layer tiles only q (bytes, a multiple of the lanes). Array with groups: see
    `dataflow.mapper.lowering.tiles` (an iteration handles tile["g"] groups as column blocks of
    group_pack groups; fir: of cols channels). `weight_depth`, `param_depth`: a block of the ring
    holds what order[weight_depth:] needs, and is loaded again when order[:weight_depth] steps.
    """

    order: tuple[Dim, ...]
    tile: MappingType[Dim, int]
    source: Literal["resident", "stream"]
    source_depth: int
    source_slots: int  # 0 when resident
    second: Literal["none", "resident", "stream"]
    second_depth: int
    second_slots: int
    sink: Literal["resident", "stream", "both"]  # both: stays on chip and is stored too
    sink_slots: int
    weight_depth: int
    param_depth: int
    feed: Literal["flat", "fir"] = "flat"
    ports: int = 1
    fir_taps: int = 1
    swap: bool = False  # feed: inner loop walks p (rows) instead of q
    group_pack: int = 1  # groups side by side on the array (block-diagonal or depthwise channels)
    cycles: int = 0  # predicted for the layer alone
    bound: int = 0  # no tiling of this mapspace is faster


@dataclass(frozen=True)
class Placement:
    """A region of the activation memory. `pitch` = bytes from row to row (may exceed dense)."""

    offset: int
    bytes: int
    pitch: int


@dataclass(frozen=True)
class MemoryMap:
    """Activation-memory and DRAM addresses (bytes)."""

    resident: MappingType[str, Placement]  # tensor -> region
    buffers: MappingType[tuple[str, str], Placement]  # (layer, source|second|sink) -> all slots
    dram: MappingType[str, int]  # tensor -> offset (inputs, outputs, spilled, constants)


@dataclass(frozen=True)
class NetworkMapping:
    """The mapping of a whole network, with what the search proved.

    Attributes:
        objective, bound: cycles of the mapper's cost model: of this mapping, and those that no
            mapping of its mapspace beats in that model. `optimal`: they are equal.
        floor: cycles that no mapping of the mapspace beats on the machine itself, whatever
            overlaps: the work of the busiest of array, vector unit and DRAM bus.
    """

    arch: str
    tilings: MappingType[str, Tiling]
    memory: MemoryMap
    objective: int  # predicted cycles
    bound: int
    optimal: bool
    search_seconds: float = 0.0
    floor: int = 0

    @property
    def gap(self) -> float:
        """objective / bound - 1."""
        return self.objective / self.bound - 1 if self.bound else 0.0
