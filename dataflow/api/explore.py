"""Functions on any architecture: count a mapping, find one, place buffers."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from dataflow import arguments
from dataflow.api.models import load
from dataflow.api.shared import StrPath, choices, new_file
from dataflow.arguments import guarded
from dataflow.errors import DataflowError
from dataflow.progress import Progress, silent

if TYPE_CHECKING:
    import onnx

    from dataflow.arch import Architecture
    from dataflow.cost import Cost
    from dataflow.ir import Cascade
    from dataflow.mapping import Mapping as LoopMapping
    from dataflow.mapping import Workload
    from dataflow.memory import Packing
    from dataflow.search.network import Found


@dataclass(frozen=True)
class Costed:
    """A mapping with its cost.

    Attributes:
        cost: exact counts, cycles and energy.
        mapping, workload, arch: what was costed.
    """

    cost: Cost
    mapping: LoopMapping
    workload: Workload
    arch: Architecture

    def json(self) -> dict[str, object]:
        """The keys of ``dataflow cost --json``."""
        from dataflow.cost.stalls import stalled
        from dataflow.report import costs

        found = costs.cost_json(self.cost, self.mapping, self.workload)
        estimate = stalled(self.mapping, self.workload, self.arch)
        return {**found, "with_stalls": costs.stalls_json(estimate)}


@guarded
def cost(mapping: StrPath, arch: StrPath) -> Costed:
    """The cost of a mapping file (a text cascade with a ``mapping`` section) on an architecture.

    Raises:
        DataflowError: the file does not parse, or the mapping is not legal on the architecture;
            the message has the line or the path of the node, and the fix.
    """
    path = arguments.path(mapping, "mapping")
    name = arguments.path(arch, "arch")
    from dataflow.arch import load_architecture
    from dataflow.cost import cost as cost_of
    from dataflow.mapping.file import load_mapping

    machine = load_architecture(name)
    found = load_mapping(path)
    result = cost_of(found.mapping, found.workload, machine, str(path))
    return Costed(result, found.mapping, found.workload, machine)


@dataclass(frozen=True)
class Mapped:
    """The mapping that a search found.

    Attributes:
        found: mapping, cost, bounds, gap, layers.
        cascade, workload, arch: what was mapped on what.
        objectives: what was asked, the first first.
        seconds: wall time of the search.
    """

    found: Found
    cascade: Cascade
    workload: Workload
    arch: Architecture
    objectives: tuple[str, ...]
    seconds: float

    def json(self) -> dict[str, object]:
        """The keys of ``dataflow map --json``."""
        from dataflow.report import maps

        return maps.map_json(self.found, self.workload, self.arch, self.objectives, self.seconds)


@guarded
def map_model(
    workload: StrPath | onnx.ModelProto,
    arch: StrPath,
    objectives: Sequence[str] = ("latency",),
    *,
    out: StrPath | None = None,
    roofline: StrPath | None = None,
    fix: StrPath | None = None,
    effort: int = 1,
    perfect: bool = False,
    fuse: bool = True,
    dims: Mapping[str, int] | None = None,
    progress: Progress = silent,
) -> Mapped:
    """The best mapping found of a text cascade or ONNX model on any architecture.

    Args:
        objectives: lexicographic list of ``latency``, ``energy``, ``edp``.
        out: mapping file to write; ``cost`` reads it.
        roofline: SVG file to write: operations a cycle over operations for each byte (needs
            matplotlib).
        fix: YAML file with parts of the mapping that are given, by Einsum.
        effort: multiplies how much is searched; more never ends worse.
        perfect: only tiles that divide.
        fuse: whether Einsums may share loops and hand tensors over on chip.

    Raises:
        DataflowError: bad input, or nothing fits (which memory, which tensor, by how many bytes).
    """
    from dataflow.arch import load_architecture
    from dataflow.mapping.file import save_mapping
    from dataflow.search import network
    from dataflow.search.constraints import parse_fixes

    wanted = choices(tuple(objectives), network.OBJECTIVES, "--objective")
    target = None if out is None else new_file(out)
    plot = None if roofline is None else new_file(roofline)
    machine = load_architecture(arguments.path(arch, "arch"))
    fixes = None
    if fix is not None:
        from dataflow.arch.strict_yaml import read_yaml

        fixes = parse_fixes(read_yaml(arguments.path(fix, "--fix")), str(fix))
    cascade, asked = searched(workload, dims, effort)
    start = time.monotonic()
    done = 0

    def step(name: str) -> None:
        nonlocal done
        done += 1
        progress(f"map {name}", done, len(asked.works))

    found = network.map_workload(
        asked,
        machine,
        wanted,
        fixes=fixes,
        budget=effort * network.BUDGET,
        perfect=perfect,
        fuse=fuse,
        step=step,
    )
    result = Mapped(found, cascade, asked, machine, wanted, time.monotonic() - start)
    if plot is not None:
        from dataflow.files import write_atomic
        from dataflow.report.roofline import roofline_svg

        write_atomic(plot, roofline_svg(found, machine))
    if target is not None:
        save_mapping(target, cascade, found.mapping)
    return result


def searched(
    workload: StrPath | onnx.ModelProto, dims: Mapping[str, int] | None, effort: int
) -> tuple[Cascade, Workload]:
    """What a search is asked to map.

    Raises DataflowError: no such file, nothing to map, what the search does not count.
    """
    from dataflow.mapping import workload_of

    if effort < 1:
        raise DataflowError("--effort", f"{effort} is below 1", "give 1 or more")
    cascade = load(workload, dims)
    asked = workload_of(cascade)
    if not asked.works:
        raise DataflowError(cascade.name, "has no Einsum to map", "give a larger workload")
    _searchable(cascade, asked)
    return cascade, asked


def _searchable(cascade: Cascade, workload: Workload) -> None:
    """Raises DataflowError where a file states what the search does not count."""
    fields = [f"format.{o.tensor}.line" for w in workload.works for o in w.operands if o.line]
    for operand in (o for work in workload.works for o in work.operands):
        fields += [f"format.{operand.tensor}.uses"] * (operand.uses != 1)
        fields += [f"format.{operand.tensor}.resident"] * bool(operand.resident)
    fields += ["flatten"] * ("flatten" in cascade.sections)
    if fields:
        what = "is counted by cost, and not searched by map"
        raise DataflowError(f"{cascade.name}: {fields[0]}", what, "leave it out")


@guarded
def pack(
    buffers: StrPath,
    out: StrPath,
    *,
    capacity: int | None = None,
    align: int = 1,
    minimize: bool = False,
    bank_bytes: int | None = None,
    seed: int = 0,
    effort: int | None = None,
) -> Packing:
    """Offsets for the buffers of a CSV file, judged, and written to ``out`` where there are any.

    Args:
        capacity: bytes of the memory; needed unless ``minimize`` asks for the least one.
        align: every offset is a multiple of it.
        bank_bytes: bytes of a bank, where buffers have bank groups.
        seed: of the search; the result depends on nothing but the arguments.
        effort: decisions of the search before it gives up.
    """
    from dataflow.files import write_atomic
    from dataflow.memory import EFFORT, minimise, read_buffers, validate, write_offsets
    from dataflow.memory import pack as place

    source, path = arguments.path(buffers, "buffers"), new_file(out)
    if not source.is_file():
        what = "is a folder" if source.is_dir() else "there is no such file"
        raise DataflowError(str(source), what, "give a CSV file of buffers")
    if capacity is None and not minimize:
        raise DataflowError("--capacity", "is missing", "give bytes, or --minimize")
    capacity = None if capacity is None else _positive(capacity, "--capacity")
    align = _positive(align, "--align")
    bank = None if bank_bytes is None else _positive(bank_bytes, "--bank-bytes")
    nodes = EFFORT if effort is None else _positive(effort, "--effort")
    seed = arguments.whole(seed, "--seed")
    if seed < 0:
        raise DataflowError("--seed", f"is {seed}", "use 0 or more")
    read = read_buffers(source, capacity, align, bank)
    if minimize:
        found = minimise(read, align, bank_bytes=bank, seed=seed, effort=nodes)
        if found.offsets is not None and capacity is not None and found.top > capacity:
            proven = found.bound > capacity
            reason = (
                f"{'proven' if proven else 'not proven'}: the least capacity found is {found.top}, "
                f"none below {found.bound} will do, and {capacity} are there"
            )
            found = replace(found, offsets=None, proven=proven, reason=reason)
    else:
        assert capacity is not None
        found = place(read, capacity, align, bank_bytes=bank, seed=seed, effort=nodes)
    if found.offsets is not None:
        validate(read, found.offsets, capacity or found.top, align, bank)
        write_atomic(path, write_offsets(read, found.offsets))
    return found


def _positive(value: object, where: str) -> int:
    number = arguments.whole(value, where)
    if not 0 < number <= 1 << 53:
        raise DataflowError(where, f"is {number}", f"use 1 to {1 << 53}")
    return number
