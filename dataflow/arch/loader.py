"""Loads an architecture: a built-in name or a YAML file, checked and resolved into the tree."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path

from pydantic import ValidationError

from dataflow import resources
from dataflow.arch import schema
from dataflow.arch.messages import check_mapping, schema_error
from dataflow.arch.sets import NOTHING, TensorSet, parse_set
from dataflow.arch.strict_yaml import read_yaml
from dataflow.arch.tree import (
    TENSOR_ROLES,
    AccessEnergy,
    Architecture,
    Bus,
    Compute,
    Device,
    FanOut,
    Memory,
    Node,
    Operation,
    Port,
)
from dataflow.errors import DataflowError
from dataflow.units import BITS_PER_BYTE, exact

DEFAULT_NAME = "edge16"
"""The architecture used when none is asked for."""


def machine_names() -> tuple[str, ...]:
    """Names of the built-in architectures that the RTL library builds, in order of size."""
    return _names(resources.arch_dir())


def builtin_names() -> tuple[str, ...]:
    """Names of the built-in architectures: `machine_names`, then those for map and cost alone."""
    return machine_names() + _names(_model_dir())


def _model_dir() -> Path:
    return resources.arch_dir() / "model"


def _names(folder: Path) -> tuple[str, ...]:
    return tuple(
        sorted((p.stem for p in folder.glob("*.yaml")), key=lambda name: (len(name), name))
    )


def architecture_path(name_or_path: str | Path) -> Path:
    """The file behind a built-in name or a path. Raises DataflowError when there is none.

    A bare word is a built-in name; anything with a folder or an extension is a file.
    """
    text = str(name_or_path)
    for folder in (resources.arch_dir(), _model_dir()):
        if text in _names(folder):
            return folder / f"{text}.yaml"
    path = Path(text)
    if path.is_file():
        return path
    if path.suffix in (".yaml", ".yml") or len(path.parts) > 1:
        raise DataflowError(text, "there is no such architecture file", "give an existing file")
    close = difflib.get_close_matches(text, builtin_names(), n=1)
    hint = f"did you mean {close[0]}? " if close else ""
    raise DataflowError(
        text or "--arch",
        "is not the name of a built-in architecture nor a file",
        f"{hint}use {', '.join(builtin_names())} or the path of a YAML file",
    )


def load_architecture(name_or_path: str | Path = DEFAULT_NAME) -> Architecture:
    """The architecture called ``name_or_path``. Raises DataflowError with the path of the field."""
    path = architecture_path(name_or_path)
    return resolve(read_yaml(path), path.name)


def resolve(data: object, source: str) -> Architecture:
    """The architecture that plain ``data`` describes; ``source`` names it in messages."""
    try:
        file = schema.FileSpec.model_validate(check_mapping(data, source))
    except ValidationError as error:
        raise schema_error(error, schema.FileSpec, source) from error
    nodes: dict[str, Node] = {}
    for name, value in file.nodes.items():
        spec = _check_node(value, name, source)
        _check_parent(spec.under, name, nodes, source)
        nodes[name] = _resolve_node(name, spec, source)
    if not any(isinstance(node, Compute) for node in nodes.values()):
        raise DataflowError(
            f"{source}: nodes", "there is no compute unit", "add a node of kind: compute"
        )
    return Architecture(file.name, source, exact(file.clock_mhz), tuple(nodes.values()))


def _check_node(value: object, name: str, source: str) -> schema.NodeSpec:
    where = f"{source}: nodes.{name}"
    mapping = check_mapping(value, where)
    kind = mapping.get("kind")
    if not isinstance(kind, str) or kind not in schema.NODE_SPECS:
        what = "is missing" if kind is None else f"{kind!r} is not a kind of node"
        raise DataflowError(f"{where}.kind", what, f"use one of {', '.join(schema.NODE_SPECS)}")
    model = schema.NODE_SPECS[kind]
    mapping = _with_device(mapping, where)
    try:
        return model.model_validate(mapping)
    except ValidationError as error:
        raise schema_error(error, model, source, ("nodes", name)) from error


def _with_device(mapping: Mapping[str, object], where: str) -> Mapping[str, object]:
    """The node with the mapping of the DRAM device that its bus names."""
    bus = mapping.get("bus")
    if not isinstance(bus, Mapping) or not isinstance(bus.get("device"), str):
        return mapping
    known = _names(resources.dram_dir())
    if bus["device"] not in known:
        raise DataflowError(
            f"{where}.bus.device",
            f"{bus['device']!r} is not the name of a DRAM device",
            f"use {', '.join(known)}, or a mapping",
        )
    device = read_yaml(resources.dram_dir() / f"{bus['device']}.yaml")
    return {**mapping, "bus": {**bus, "device": device}}


def _device(spec: schema.DeviceSpec, where: str) -> Device:
    if spec.width_bits * spec.burst_length % BITS_PER_BYTE:
        raise DataflowError(
            f"{where}.burst_length",
            f"{spec.burst_length} transfers of {spec.width_bits} bit are no whole bytes",
            "use 8 transfers",
        )
    if spec.refresh_interval_ns <= spec.refresh_ns:
        raise DataflowError(
            f"{where}.refresh_interval_ns",
            f"a refresh of {spec.refresh_ns:g} ns every {spec.refresh_interval_ns:g} ns leaves no "
            "time for data",
            "use an interval above refresh_ns",
        )
    return Device(
        bytes_per_us=exact(spec.mega_transfers) * spec.width_bits / BITS_PER_BYTE,
        burst_bytes=spec.width_bits * spec.burst_length // BITS_PER_BYTE,
        banks=spec.banks,
        row_bytes=spec.row_bytes,
        activate=exact(spec.activate_ns),
        precharge=exact(spec.precharge_ns),
        write_recovery=exact(spec.write_recovery_ns),
        write_to_read=exact(spec.write_to_read_ns),
        read_to_write=exact(spec.read_to_write_ns),
        refresh=exact(spec.refresh_ns),
        refresh_interval=exact(spec.refresh_interval_ns),
    )


def _bus(spec: schema.BusSpec, where: str) -> Bus:
    device = None if spec.device is None else _device(spec.device, f"{where}.device")
    return Bus(**spec.model_dump(exclude={"device"}), device=device)


def _check_parent(under: str | None, name: str, above: dict[str, Node], source: str) -> None:
    where = f"{source}: nodes.{name}.under"
    if not above:
        if under is not None:
            raise DataflowError(
                where,
                f"{under} does not stand above it",
                "leave it out: the first node is the root",
            )
        return
    if under is None:
        raise DataflowError(where, "is missing", f"name a node above it: {', '.join(above)}")
    if under not in above:
        raise DataflowError(
            where, f"{under} does not stand above it", f"name a node above it: {', '.join(above)}"
        )
    if isinstance(above[under], Compute):
        raise DataflowError(where, f"{under} is a compute unit", "name a memory or a fan-out")


def _resolve_node(name: str, spec: schema.NodeSpec, source: str) -> Node:
    match spec:
        case schema.MemorySpec():
            return _memory(name, spec, f"{source}: nodes.{name}")
        case schema.FanOutSpec():
            return FanOut(
                name=name,
                under=spec.under,
                size=spec.size,
                shares=_roles(spec.shares),
                only_irrelevant_to=_roles(spec.only_irrelevant_to),
                systolic=spec.systolic,
                shifts=_roles(spec.shifts),
                least_use=_least_use(spec, f"{source}: nodes.{name}"),
            )
        case schema.ComputeSpec():
            return Compute(
                name=name,
                under=spec.under,
                executes=tuple(
                    Operation(
                        tuple(item.operators),
                        tuple(item.inputs),
                        item.output,
                        exact(item.cycles),
                        None if item.energy_pj is None else exact(item.energy_pj),
                    )
                    for item in spec.executes
                ),
                per_cycle=exact(spec.per_cycle),
                latency_cycles=spec.latency_cycles,
                strip_positions=spec.strip_positions,
                functions=spec.functions,
                keeps=_roles(spec.keeps),
                energy_pj=exact(spec.energy_pj),
                leakage_mw=exact(spec.leakage_mw),
            )


def _roles(roles: schema.Roles) -> tuple[str, ...]:
    expanded = [role for item in roles for role in (TENSOR_ROLES if item == "all" else (item,))]
    return tuple(dict.fromkeys(expanded))


def _size_bits(spec: schema.MemorySpec, where: str) -> int | None:
    if (spec.size_bytes is None) == (spec.size_bits is None):
        both = "size_bytes and size_bits are both there"
        what = "is missing" if spec.size_bytes is None else both
        raise DataflowError(f"{where}.size_bytes", what, "give one of size_bytes, size_bits")
    if spec.size_bytes == "unbounded":
        return None
    bits = spec.size_bits
    if bits is None:
        assert isinstance(spec.size_bytes, int)
        bits = spec.size_bytes * BITS_PER_BYTE
    unit = spec.line_bits * spec.copies
    if bits % unit:
        raise DataflowError(
            f"{where}.size_bytes" if spec.size_bits is None else f"{where}.size_bits",
            f"{bits} bit is not a whole number of lines ({spec.copies} copies of "
            f"{spec.line_bits} bit a line)",
            f"use a multiple of {unit} bit",
        )
    if bits // unit % spec.banks:
        raise DataflowError(
            f"{where}.banks",
            f"{spec.banks} does not divide the {bits // unit} lines",
            "use a divisor of the number of lines",
        )
    return bits


def _memory(name: str, spec: schema.MemorySpec, where: str) -> Memory:
    may_hold, must_hold = _roles(spec.may_hold), _roles(spec.must_hold)
    for role in must_hold:
        if role not in may_hold:
            raise DataflowError(
                f"{where}.must_hold", f"{role} is not in may_hold", f"add {role} to may_hold"
            )
    ports = tuple(
        Port(
            name=port_name,
            does=tuple(dict.fromkeys(port.does)),
            bits_per_cycle=_rate(port.bits_per_cycle),
            min_bits=port.min_bits,
            count=port.count,
            carries=_roles(port.carries),
            sides=tuple(dict.fromkeys(port.sides)),
        )
        for port_name, port in spec.ports.items()
    )
    for action in ("read", "write"):
        if not any(action in port.does for port in ports):
            # A transfer that no port carries would take no time.
            raise DataflowError(
                f"{where}.ports", f"no port {action}s", f"add {action} to what one of them does"
            )
    energy = spec.energy_pj
    bus = spec.bus
    return Memory(
        name=name,
        under=spec.under,
        size_bits=_size_bits(spec, where),
        line_bits=spec.line_bits,
        banks=spec.banks,
        copies=spec.copies,
        must_hold=must_hold,
        may_hold=may_hold,
        ports=ports,
        energy=AccessEnergy(exact(energy.read), exact(energy.write), energy.bits or spec.line_bits),
        leakage_mw=exact(spec.leakage_mw),
        bus=None if bus is None else _bus(bus, f"{where}.bus"),
        keep=_set(spec.keep, f"{where}.keep"),
        bypass=_set(spec.bypass, f"{where}.bypass"),
        reads_padding=spec.reads_padding,
    )


def _set(text: str | None, where: str) -> TensorSet:
    return NOTHING if text is None else parse_set(text, where)


def _least_use(spec: schema.FanOutSpec, where: str) -> int | None:
    if spec.least_use == "largest":
        return None
    assert isinstance(spec.least_use, int)
    if spec.least_use > spec.size:
        raise DataflowError(
            f"{where}.least_use",
            f"{spec.least_use} is more than the {spec.size} instances",
            f"use at most {spec.size}, or largest",
        )
    return spec.least_use


def _rate(value: float | str) -> Fraction | None:
    return None if isinstance(value, str) else exact(value)
