"""What happens in each step of a loop: slices that are read, states that are carried."""

from __future__ import annotations

from dataclasses import dataclass

from dataflow.frontend.context import UnsupportedError
from dataflow.frontend.lowering import Lowering, Operand
from dataflow.frontend.value import Value, renamed
from dataflow.ir.affine import Affine
from dataflow.ir.cascade import Access
from dataflow.ir.expr import index


def taken(operand: Operand, axis: int, place: Affine | str | int) -> Value:
    """The slice of an operand at one index of an axis, a view without that axis."""
    value = operand.value
    own = value.placeholders(axis)
    rest = [p for k in range(len(value.dims)) if k != axis for p in value.placeholders(k)]
    mapping = {p: Affine.of(f"${k}") for k, p in enumerate(rest)}
    mapping |= dict.fromkeys(own, Affine.of(place))
    return renamed(value, value.dims[:axis] + value.dims[axis + 1 :], mapping)


def part(operand: Operand, axis: int, start: int, size: int) -> Value:
    """``size`` coordinates of an axis from ``start`` on, a view."""
    value = operand.value
    if not value.dims[axis]:
        return value
    (name,) = value.placeholders(axis)
    dims = (*value.dims[:axis], (size,), *value.dims[axis + 1 :])
    return renamed(value, dims, {name: Affine.of(name, start)})


def counter(variable: str) -> Value:
    """The number of the step, an int64 scalar."""
    number = index(variable)
    return Value((), number.dtype, expr=number)


@dataclass(frozen=True)
class State:
    """A value that each step of a loop reads and replaces.

    Attributes:
        tensor: its slice t is the value before step t, the last one that after the loop.
        steps: of the loop.
    """

    tensor: Operand
    steps: int

    def before(self, variable: str) -> Value:
        """The value that step ``variable`` reads."""
        return taken(self.tensor, 0, variable)

    @property
    def final(self) -> Value:
        """The value after the last step."""
        return taken(self.tensor, 0, self.steps)


def start(low: Lowering, suffix: str, initial: Operand, steps: int) -> State:
    """A new state with its initial value, written before the loop is opened."""
    ranks = low.variables(initial)
    time = low.rank("T", steps + 1)
    tensor = low.tensor(suffix, [time, *ranks], initial.dtype)
    low.write(tensor, [0, *ranks], initial.at(*ranks))
    return State(low.read(tensor), steps)


def advance(low: Lowering, state: State, variable: str, value: Operand) -> None:
    """Writes the value that step ``variable`` leaves; it must be like the initial one."""
    tensor = stored_name(state.tensor)
    if (value.shape, value.dtype) != (state.tensor.shape[1:], state.tensor.dtype):
        raise UnsupportedError(
            f"it carries {state.tensor.dtype}{list(state.tensor.shape[1:])} into a step and "
            f"{value.dtype}{list(value.shape)} out of it",
            "keep shape and type of what is carried",
        )
    ranks = [r.lower() for r in low.builder.tensors[tensor].ranks[1:]]
    low.write(tensor, [Affine.of(variable, 1), *ranks], value.at(*ranks))


def stored_name(operand: Operand) -> str:
    """The tensor that an operand is an access of."""
    assert isinstance(operand.value.expr, Access)
    return operand.value.expr.tensor


@dataclass
class Stack:
    """A tensor that collects one slice from each step along a new axis.

    Attributes:
        axis: where the steps are in the result.
        steps: their number.
        backward: whether the first step writes the last slice.
    """

    axis: int
    steps: int
    backward: bool = False
    tensor: str = ""

    def add(self, low: Lowering, suffix: str, step: Affine, value: Operand) -> None:
        """Writes the slice of a step."""
        rank = len(value.shape) + 1
        if not -rank <= self.axis < rank:
            raise UnsupportedError(
                f"it stacks along axis {self.axis} of {rank}", "repair the model"
            )
        axis = self.axis % rank
        ranks = low.variables(value)
        place = Affine.of(step * -1, self.steps - 1) if self.backward else step
        if not self.tensor:
            # The steps have a rank of their own: a loop's rank is that of its variable.
            time = low.rank("T", self.steps)
            self.tensor = low.tensor(suffix, [*ranks[:axis], time, *ranks[axis:]], value.dtype)
        shape = low.builder.tensors[self.tensor].shape
        if shape[:axis] + shape[axis + 1 :] != value.shape:
            raise UnsupportedError("its steps yield different shapes", "make the shapes equal")
        low.write(self.tensor, [*ranks[:axis], place, *ranks[axis:]], value.at(*ranks))

    def result(self, low: Lowering) -> Value:
        """All slices."""
        return low.read(self.tensor).value
