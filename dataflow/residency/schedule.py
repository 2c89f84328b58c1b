"""Vocabulary of residency: a network as steps in order, its tensors, the memory that it runs in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from dataflow.errors import DataflowError

Kind = Literal["weight", "input", "activation"]


@dataclass(frozen=True)
class Tensor:
    """What steps read and write.

    Attributes:
        name: unique in the schedule.
        bytes: size, positive.
        kind: a ``weight`` or an ``input`` lies in DRAM before the first step; an ``activation`` is
            written by one step.
        output: it has to lie in DRAM behind the last step.
    """

    name: str
    bytes: int
    kind: Kind
    output: bool = False


@dataclass(frozen=True)
class Access:
    """A tensor that a step reads, whole.

    Attributes:
        tensor: its name.
        reads: times that its bytes are moved when they come from DRAM during the step.
    """

    tensor: str
    reads: int = 1


@dataclass(frozen=True)
class Step:
    """An operator.

    Attributes:
        name: unique in the schedule.
        cycles: what it takes when nothing waits for DRAM.
        reads: its operands, each tensor once.
        writes: the tensors that it makes.
        in_place: (written, read) pairs of equal size: byte for byte the first may take the place of
            the second, as far as that is on chip before, if nothing reads it later.
    """

    name: str
    cycles: int
    reads: tuple[Access, ...]
    writes: tuple[str, ...]
    in_place: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Machine:
    """The memory of the machine.

    Attributes:
        capacity: bytes of the scratchpad.
        port_bytes: bytes that the DRAM port moves in a cycle, reads and writes together.
        stream_bytes: bytes of the scratchpad through which steps stream what is not resident.
        word: bytes; regions begin and end at multiples of it.
    """

    capacity: int
    port_bytes: int
    stream_bytes: int = 0
    word: int = 16

    @property
    def room(self) -> int:
        """Bytes for residents."""
        return (self.capacity - self.stream_bytes) // self.word * self.word

    def cycles(self, moved: int) -> int:
        """Cycles that the port takes for so many bytes."""
        return -(-moved // self.port_bytes)


@dataclass(frozen=True)
class Life:
    """When a tensor is made and read.

    Attributes:
        tensor: what.
        made: the step that writes it, -1 for what lies in DRAM from the start.
        uses: the steps that read it, in order.
        reads: of each use, times that its bytes come from DRAM.
    """

    tensor: Tensor
    made: int
    uses: tuple[int, ...]
    reads: tuple[int, ...]

    @property
    def last(self) -> int:
        """The last step that has to do with it; -1 for what nothing reads."""
        return self.uses[-1] if self.uses else self.made


@dataclass(frozen=True)
class Schedule:
    """A network: steps in an order in which each runs behind those it reads from.

    Raises DataflowError: a tensor is unknown, made twice or never, or read before it is made; a
    size or a count is not positive; a pair in place does not match.
    """

    name: str
    tensors: Mapping[str, Tensor]
    steps: tuple[Step, ...]

    def __post_init__(self) -> None:
        _verify(self)

    @property
    def cycles(self) -> int:
        """Cycles of all steps without waiting."""
        return sum(step.cycles for step in self.steps)

    def lives(self) -> dict[str, Life]:
        """When each tensor is made and read, by name."""
        made = {name: u for u, step in enumerate(self.steps) for name in step.writes}
        uses: dict[str, list[tuple[int, int]]] = {name: [] for name in self.tensors}
        for u, step in enumerate(self.steps):
            for access in step.reads:
                uses[access.tensor].append((u, access.reads))
        return {
            name: Life(
                tensor,
                made.get(name, -1),
                tuple(u for u, _ in uses[name]),
                tuple(n for _, n in uses[name]),
            )
            for name, tensor in self.tensors.items()
        }


def _verify(schedule: Schedule) -> None:
    where, fix = f"schedule {schedule.name}", "change the schedule"

    def wrong(what: str) -> DataflowError:
        return DataflowError(where, what, fix)

    names: set[str] = set()
    ready = {n for n, t in schedule.tensors.items() if t.kind != "activation"}
    for name, tensor in schedule.tensors.items():
        if tensor.name != name:
            raise wrong(f"tensor {name} calls itself {tensor.name}")
        if tensor.bytes <= 0:
            raise wrong(f"tensor {name} has {tensor.bytes} bytes")
    for step in schedule.steps:
        if step.name in names:
            raise wrong(f"two steps are called {step.name}")
        names.add(step.name)
        if step.cycles < 0:
            raise wrong(f"step {step.name} takes {step.cycles} cycles")
        _verify_step(step, schedule.tensors, ready, wrong)
        ready |= set(step.writes)
    missing = sorted(schedule.tensors.keys() - ready)
    if missing:
        raise wrong(f"no step makes the activation {missing[0]}")


def _verify_step(
    step: Step,
    tensors: Mapping[str, Tensor],
    ready: set[str],
    wrong: Callable[[str], DataflowError],
) -> None:
    read = [access.tensor for access in step.reads]
    for name in [*read, *step.writes]:
        if name not in tensors:
            raise wrong(f"step {step.name} names the tensor {name}, which is not listed")
    for names, does in ((read, "reads"), (list(step.writes), "writes")):
        for name in names:
            if names.count(name) > 1:
                raise wrong(f"step {step.name} {does} {name} twice")
    for access in step.reads:
        if access.tensor not in ready:
            raise wrong(f"step {step.name} reads {access.tensor} before it is made")
        if access.reads < 1:
            raise wrong(f"step {step.name} reads {access.tensor} {access.reads} times")
    for name in step.writes:
        if name in ready:
            raise wrong(f"step {step.name} writes {name}, which is there before")
    for new, old in step.in_place:
        if new not in step.writes or old not in read:
            raise wrong(f"step {step.name} cannot write {new} over {old}: it has not both")
        if tensors[new].bytes != tensors[old].bytes:
            raise wrong(f"step {step.name} cannot write {new} over {old}: their sizes differ")
