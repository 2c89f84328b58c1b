"""What a Cascade asks of a machine: iteration spaces, operands, operators.

A `Workload` is all that mapping and costing need of a Cascade, without its arithmetic. On the way:

* views (``BK[e, m1, m0] = K[e, m1*M0 + m0]``) are put into the accesses of their readers, as they
  move nothing;
* a tensor that a loop generates slice after slice (``RM[m1+1, p]`` from ``RM[m1, p]``) is a state
  that is overwritten: the iterative dimension is left out, the initial constant costs nothing;
* the tensors of the host are left out.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Literal, TypeVar

import numpy as np
import numpy.typing as npt

Size = TypeVar("Size", int, npt.NDArray[np.int64])
"""A number of elements, or an array of them."""

Role = Literal["input", "weight", "output"]


@dataclass(frozen=True)
class Digit:
    """``coefficient * (variable // divisor % size)``: a rank of those that a variable flattens."""

    variable: str
    divisor: int
    size: int
    coefficient: int

    def bounds(self, start: int, extent: int) -> tuple[int, int]:
        """Least and greatest value of the rank over ``extent`` values of the variable."""
        low, high = start // self.divisor, (start + extent - 1) // self.divisor
        if low // self.size == high // self.size:
            return low % self.size, high % self.size
        return 0, self.size - 1

    def most(self, extent: int) -> int:
        """Values of the rank that a tile of ``extent`` values of the variable has, at most: all
        where it may go on to the next value of an outer rank."""
        return self.size if extent > 1 else 1


@dataclass(frozen=True)
class Dim:
    """A dimension of an operand.

    Attributes:
        terms: (variable, coefficient) of the affine index, sorted by variable.
        offset: its constant part.
        extent: elements of the tensor's dimension.
        indirect: the index depends on data: at most one element is touched for each value of the
            variables (coefficients are 1, the offset 0).
        digits: further terms of the index, of variables that flatten several ranks.
        line: elements that one access moves side by side.
        block: a new line begins after so many elements; 0: only after a full line.
        whole: all of the dimension is touched where no loop cuts its variables.
        masked: what lies outside the tensor is touched too, and masked behind it.
    """

    terms: tuple[tuple[str, int], ...]
    offset: int
    extent: int
    indirect: bool = False
    digits: tuple[Digit, ...] = ()
    line: int = 1
    block: int = 0
    whole: bool = False
    masked: bool = False

    @property
    def variables(self) -> tuple[str, ...]:
        """The rank variables of the index."""
        names = [v for v, _ in self.terms] + [d.variable for d in self.digits]
        return tuple(dict.fromkeys(names))

    def lines(self, size: Size) -> Size:
        """Lines of ``size`` neighbouring elements, the first one at the start of a line."""
        if not self.block:
            return -(-size // self.line)
        whole = -(-self.block // self.line)
        return size // self.block * whole - (-(size % self.block) // self.line)


@dataclass(frozen=True)
class Operand:
    """An access of an Einsum.

    Attributes:
        tensor: its name.
        role: its place in the Einsum. In a contraction the operand with constant data, else the
            right one, is the ``weight``.
        dims: one for each dimension that is not iterative.
        bits: width of a finished element.
        intermediate: written by one Einsum and read by others, it need not leave the chip.
        state: a loop generates it slice after slice; the variables of those loops.
        line: the tensor is stored in whole lines of so many elements of its last dimension, and
            buses move whole lines; 0: elements stand side by side.
        block: where it is stored in lines: a new one begins after so many elements; 0: only after
            a full one.
        uses: times that an element is read at each point; 0: it is moved, and not read.
        resident: the memory where it lies before and after, which it need not enter or leave
            through the root; empty: none.
        access: name of this access alone (``T.2``: the second one of T), where the Einsum reads the
            tensor in several; otherwise empty. A hold of T is one of each access.
    """

    tensor: str
    role: Role
    dims: tuple[Dim, ...]
    bits: int
    intermediate: bool = False
    state: tuple[str, ...] = ()
    line: int = 0
    block: int = 0
    uses: int = 1
    resident: str = ""
    access: str = ""

    @property
    def name(self) -> str:
        """What tells it from the other operands: its access, otherwise the tensor."""
        return self.access or self.tensor

    def among(self, names: Collection[str]) -> bool:
        """Whether a hold of these names is one of it."""
        return self.tensor in names or (self.access != "" and self.access in names)

    @property
    def variables(self) -> tuple[str, ...]:
        """Rank variables that index it, each once."""
        return tuple(dict.fromkeys(v for dim in self.dims for v in dim.variables))

    @property
    def tags(self) -> frozenset[str]:
        """What set expressions may call it."""
        kind = {"intermediate"} if self.intermediate else set()
        return frozenset({self.tensor, self.role, *kind})


def renamed_access(name: str, tensors: Mapping[str, str]) -> str:
    """The name of a tensor, or of one of its accesses, for tensors with other names."""
    tensor, dot, number = name.partition(".")
    return tensors[tensor] + dot + number


@dataclass(frozen=True)
class Work:
    """One Einsum.

    Attributes:
        name: of the Einsum.
        sizes: size of each rank variable, the output's first, then the reduced ones, then those of
            loops around it.
        inputs: operands read, each access once.
        output: the operand written; distinct points of its variables write distinct elements.
        reduced: the variables over which points are folded.
        operators: (operator, times) executed at each point; ``mac`` is a multiply with addition.
        contraction: whether its points are nominal multiply-accumulates.
    """

    name: str
    sizes: Mapping[str, int]
    inputs: tuple[Operand, ...]
    output: Operand
    reduced: frozenset[str]
    operators: tuple[tuple[str, int], ...]
    contraction: bool

    @property
    def points(self) -> int:
        """Size of the iteration space."""
        return prod(self.sizes.values())

    @property
    def operands(self) -> tuple[Operand, ...]:
        """Inputs, then the output."""
        return (*self.inputs, self.output)

    @property
    def tensors(self) -> tuple[str, ...]:
        """Names of its tensors, each once."""
        return tuple(dict.fromkeys(o.tensor for o in self.operands))

    @property
    def names(self) -> tuple[str, ...]:
        """What a hold may name: its tensors, and the accesses of those that it reads in several."""
        return tuple(dict.fromkeys((*self.tensors, *(o.name for o in self.operands))))


@dataclass(frozen=True)
class Workload:
    """Einsums in an order in which each runs after those it reads from.

    Attributes:
        name: of the Cascade.
        works: the Einsums that a machine has to run.
        free: names of Einsums that cost nothing (views, initial values of states).
    """

    name: str
    works: tuple[Work, ...]
    free: tuple[str, ...] = ()
    _by_name: dict[str, Work] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        self._by_name.update({work.name: work for work in self.works})

    def work(self, name: str) -> Work:
        """The Einsum called ``name``. Raises KeyError."""
        return self._by_name[name]

    def __contains__(self, name: object) -> bool:
        return name in self._by_name

    @property
    def macs(self) -> int:
        """Nominal multiply-accumulates."""
        return sum(work.points for work in self.works if work.contraction)
