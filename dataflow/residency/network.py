"""A Cascade's Workload as a Schedule: operators in order, with what they cost and move.

Einsums of one operator are one step; what they hand to each other has no life outside it. What is
made element by element of a tensor that nothing else reads is a part of the step that made that
tensor, if all else that it reads is there by then. Views are gone already: readers and writers of a
box of a tensor have a part of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod

from dataflow.errors import DataflowError
from dataflow.ir import Cascade
from dataflow.mapping import Operand, Work, workload_of
from dataflow.residency.parts import Touch, box_of, parts_of, touched
from dataflow.residency.patches import Patches, patched
from dataflow.residency.roofline import Array, Cycles, cycles
from dataflow.residency.schedule import Access, Kind, Schedule, Step, Tensor


@dataclass
class _Group:
    """Einsums that are one step; ``mark`` tells patches apart."""

    works: list[Work]
    mark: str = ""

    @property
    def reads(self) -> set[str]:
        return {o.tensor for work in self.works for o in work.inputs}

    @property
    def writes(self) -> set[str]:
        return {work.output.tensor for work in self.works}


def schedule_of(
    cascade: Cascade, array: Array, bits: int | None = None, patches: Patches | None = None
) -> Schedule:
    """The Schedule of a Cascade, in the order of its Einsums.

    Args:
        patches: how the first steps are cut, if they are.
        bits: no element counts as wider (a float model in the place of its int8 form); None: all
            are as wide as they are.

    Raises:
        DataflowError: nothing in it has to be run, or the patches do not suit it.
    """
    groups = _groups(cascade)
    if patches is not None:
        cut = patched([group.works for group in groups], patches)
        groups = [_Group(works, mark) for mark, works in cut]
    return _Builder(cascade, groups, array, bits).schedule()


def steps_of(cascade: Cascade, patches: Patches | None = None) -> list[list[Work]]:
    """The Einsums of each step of `schedule_of`."""
    whole = [group.works for group in _groups(cascade)]
    return whole if patches is None else [works for _, works in patched(whole, patches)]


def _groups(cascade: Cascade) -> list[_Group]:
    workload = workload_of(cascade)
    if not workload.works:
        raise DataflowError(cascade.name, "has no Einsum to run", "give a larger workload")
    source = {e.name: e.source or e.name for e in cascade.einsums}
    groups: list[_Group] = []
    last = ""
    for work in workload.works:
        mark = source.get(work.name, work.name)
        if groups and mark == last:
            groups[-1].works.append(work)
        else:
            groups.append(_Group([work]))
        last = mark
    return _behind(_one_writer(groups), set(cascade.outputs))


def _one_writer(groups: Sequence[_Group]) -> list[_Group]:
    """Groups between which no tensor goes back: those of a loop, and writers of one element, are
    one."""
    first: dict[str, int] = {}
    last: dict[str, int] = {}
    for i, group in enumerate(groups):
        for name in group.reads | group.writes:
            first.setdefault(name, i)
        for name in group.writes:
            last[name] = i
    boxes: dict[str, list[int]] = {}
    for i, group in enumerate(groups):
        for work in group.works:
            boxes.setdefault(work.output.tensor, []).append(i)
    ends = list(range(len(groups)))
    for name, writer in last.items():
        writers = sorted(set(boxes[name]))
        apart = len(writers) == 1 or _disjoint([groups[i] for i in writers], name)
        begin = first[name] if first[name] < writers[0] or not apart else writer
        ends[begin] = max(ends[begin], writer)
    merged: list[_Group] = []
    reach = -1
    for i, group in enumerate(groups):
        if i <= reach:
            merged[-1].works.extend(group.works)
        else:
            merged.append(_Group(list(group.works)))
        reach = max(reach, ends[i])
    return merged


def _disjoint(groups: Sequence[_Group], tensor: str) -> bool:
    """Whether groups write boxes of a tensor that do not meet."""
    boxes = [
        (i, box_of(work.output, work))
        for i, group in enumerate(groups)
        for work in group.works
        if work.output.tensor == tensor
    ]
    return not any(
        i < j and all(a < d and c < b for (a, b), (c, d) in zip(one, other, strict=True))
        for i, one in boxes
        for j, other in boxes
    )


def _pointwise(work: Work) -> bool:
    """Whether each element is made of one element of each operand, or of fewer."""
    return (
        not work.reduced
        and not any(d.indirect for o in work.operands for d in o.dims)
        and all(size == 1 or v in work.output.variables for v, size in work.sizes.items())
    )


def _behind(groups: Sequence[_Group], outputs: set[str]) -> list[_Group]:
    """Pointwise groups joined with the group that makes what they change."""
    readers: dict[str, int] = {}
    for group in groups:
        for name in group.reads:
            readers[name] = readers.get(name, 0) + 1
    joined: list[_Group] = []
    maker: dict[str, int] = {}
    for group in groups:
        taken = {maker[name] for name in group.reads - group.writes if name in maker}
        home = joined[max(taken)] if taken else None
        old = group.reads & home.writes if home is not None else set()
        if (
            home is not None
            and len(old) == 1
            and all(_pointwise(work) for work in group.works)
            and not old & outputs
            and readers[next(iter(old))] == 1
            and group.works[-1].points == _made(home, next(iter(old)))
        ):
            home.works.extend(group.works)
            place = max(taken)
        else:
            place = len(joined)
            joined.append(_Group(list(group.works)))
        maker |= dict.fromkeys(group.writes, place)
    return joined


def _made(group: _Group, tensor: str) -> int:
    """Elements of a tensor that a group makes."""
    boxes = [box_of(w.output, w) for w in group.works if w.output.tensor == tensor]
    return sum(prod(high - low for low, high in box) for box in boxes)


@dataclass(frozen=True)
class _Builder:
    """Groups as steps."""

    cascade: Cascade
    groups: Sequence[_Group]
    array: Array
    bits: int | None

    def schedule(self) -> Schedule:
        touches, widths, gathered = self._touches()
        written = {t for group in self.groups for t in group.writes}
        reads: list[list[str]] = [[] for _ in self.groups]
        writes: list[list[str]] = [[] for _ in self.groups]
        tensors: dict[str, Tensor] = {}
        for name, found in touches.items():
            parts = parts_of(found)
            for n, part in enumerate(parts):
                users = sorted({found[i].group for i in part.touches if not found[i].writes})
                makers = sorted({found[i].group for i in part.touches if found[i].writes})
                if name in written and not makers:
                    continue  # a constant initial value
                outside = [g for g in users if g not in makers]
                output = name in self.cascade.outputs or (bool(makers) and not outside)
                if makers and not outside and name not in self.cascade.outputs and users:
                    continue  # handed on inside its step
                label = name if len(parts) == 1 else f"{name}.{n}"
                size = -(-part.elements * widths[name] // 8)
                tensors[label] = Tensor(label, size, self._kind(name, bool(makers)), output)
                for g in outside:
                    reads[g].append(label)
                for g in makers[-1:]:
                    writes[g].append(label)
        for g, label, size, kind in gathered:
            tensors[label] = Tensor(label, size, kind)
            reads[g].append(label)
        _join_weights(tensors, reads)
        steps = [self._step(g, tensors, reads[g], writes[g]) for g in range(len(self.groups))]
        return Schedule(self.cascade.name, tensors, tuple(steps))

    def _touches(
        self,
    ) -> tuple[dict[str, list[Touch]], dict[str, int], list[tuple[int, str, int, Kind]]]:
        """Accesses and element widths by tensor; what is gathered: (step, name, bytes, kind)."""
        touches: dict[str, list[Touch]] = {}
        widths: dict[str, int] = {}
        gathered: list[tuple[int, str, int, Kind]] = []
        written = {t for group in self.groups for t in group.writes}
        for g, group in enumerate(self.groups):
            for work in group.works:
                for operand in work.operands:
                    name, writes = operand.tensor, operand is work.output
                    width = self._width(operand)
                    if any(d.indirect for d in operand.dims) and name not in written:
                        size = -(-touched(operand, work) * width // 8)
                        label = f"{name}.of.{work.name}"
                        if all(label != known for _, known, _, _ in gathered):
                            gathered.append((g, label, size, self._kind(name, False)))
                        continue
                    widths[name] = width
                    touch = Touch(g, box_of(operand, work), writes)
                    touches.setdefault(name, []).append(touch)
        return touches, widths, gathered

    def _width(self, operand: Operand) -> int:
        return operand.bits if self.bits is None else min(operand.bits, self.bits)

    def _kind(self, name: str, made: bool) -> Kind:
        if made:
            return "activation"
        return "input" if name.partition("@")[0] in self.cascade.inputs else "weight"

    def _step(
        self, g: int, tensors: Mapping[str, Tensor], reads: Sequence[str], writes: Sequence[str]
    ) -> Step:
        group = self.groups[g]
        total = Cycles()
        for work in group.works:
            total += cycles(work, self.array)
        pairs = tuple(
            (new, old)
            for new in writes
            for old in reads
            if tensors[old].kind == "activation"
            and tensors[old].bytes == tensors[new].bytes
            and all(_pointwise(w) for w in group.works if _reads(w, old))
        )
        accesses = tuple(Access(name) for name in reads)
        name = group.works[-1].name + group.mark
        return Step(name, total.total, accesses, tuple(writes), pairs)


def _reads(work: Work, label: str) -> bool:
    """Whether an Einsum reads a tensor, or the tensor that a part is of."""
    return any(o.tensor in (label, label.rpartition(".")[0]) for o in work.inputs)


def _join_weights(tensors: dict[str, Tensor], reads: Sequence[list[str]]) -> None:
    """Weights that the same steps read lie one behind the other, as one tensor."""
    users: dict[str, tuple[int, ...]] = {}
    for g, names in enumerate(reads):
        for name in names:
            if tensors[name].kind == "weight":
                users[name] = (*users.get(name, ()), g)
    alike: dict[tuple[int, ...], list[str]] = {}
    for name, where in users.items():
        alike.setdefault(where, []).append(name)
    for where, names in alike.items():
        if len(names) == 1:
            continue
        largest = max(names, key=lambda name: tensors[name].bytes)
        size = sum(tensors[name].bytes for name in names)
        for g in where:
            reads[g][:] = [name for name in reads[g] if name == largest or name not in names]
        for name in names:
            del tensors[name]
        tensors[largest] = Tensor(largest, size, "weight")
