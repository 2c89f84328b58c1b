"""Layers: what the machine executes as one unit, with its operands and their storage.

A `Layer` is an array Einsum with the elementwise Einsums fused behind it, or a vector Einsum
(pooling, elementwise, copy) alone. All byte quantities are plain integers; sizes are in elements
of 8 bits unless a name says otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping as MappingType
from dataclasses import dataclass, field
from typing import Literal

from dataflow.evaluate.functions import Function
from dataflow.layers.axis import Window
from dataflow.machine.isa import Op, Operand

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
    function: Function = Function.IDENTITY


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
    # Operands P0 and P1: LayerGraph.params, int32 or float32 (groups*n,), at most two.
    params: tuple[str, ...] = ()
    bias: bool = False  # the first of them, int32, is added to accumulators as they are read
    second: View | None = None  # vector S1: residual, other operand, constant
    second_zero: int = 0
    second_signed: bool = True
    second_words: bool = False  # S1 is 32-bit words, one for all lanes, `second_use` bytes apart
    second_use: int = 0
    macs: int = 0  # nominal
    # Vector: elementwise over dense tensors, seen as rows of lanes. Then batch = groups = p =
    # n = 1, q counts bytes and each view has shape (1, 1, q, 1) (or splat with strides 0).
    flat: bool = False

    def extent(self, dim: Dim) -> int:
        """Size of a dim (k: reduction channels per group)."""
        sizes: dict[Dim, int] = {
            "b": self.batch,
            "g": self.groups,
            "p": self.p,
            "q": self.q,
            "n": self.n,
            "k": self.c,
        }
        return sizes[dim]

    def window(self, dim: Dim) -> Window:
        """How output rows (dim p) or columns (q) reach source rows or columns."""
        if dim == "p":
            return Window(self.taps_r, self.stride_p, self.dilation_r, self.pad_p)
        return Window(self.taps_s, self.stride_q, self.dilation_s, self.pad_q)

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
