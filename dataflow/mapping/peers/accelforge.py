"""Architectures and mappings as AccelForge 1.0 writes them.

Sizes are in bits, energies in joules, throughputs in bits a second (computes a second), leakage in
watts. An action of a memory moves one bit unless ``bits_per_action`` says otherwise. The clock is
the rate of the first compute unit, so that it computes once a cycle.
"""

from __future__ import annotations

import re
from fractions import Fraction

from dataflow.arch import Architecture, resolve
from dataflow.errors import DataflowError
from dataflow.mapping.peers.reading import (
    Tagged,
    Value,
    entries,
    finite,
    items,
    names,
    number,
    read,
    whole,
)
from dataflow.mapping.tree import Branches, Compute, Group, Hold, Loop, Mapping, Nest, Node

_KINDS = ("Memory", "Container", "Compute", "Toll")
_ROLES = ("input", "weight", "output")


def accelforge_architecture(text: str, where: str, name: str = "accelforge") -> Architecture:
    """The architecture of ``arch: {nodes: [...]}``. Raises DataflowError."""
    return resolve(accelforge_document(text, where, name), where)


def accelforge_document(text: str, where: str, name: str = "accelforge") -> dict[str, object]:
    """The data of our architecture file that says the same. Raises DataflowError."""
    top = entries(read(text, where), where)
    arch = entries(top.get("arch"), f"{where}: arch")
    rows = items(arch.get("nodes"), f"{where}: arch.nodes")
    for at, row in enumerate(rows):
        if not isinstance(row, Tagged) or row.tag not in _KINDS[:3]:
            tag = f"!{row.tag}" if isinstance(row, Tagged) else "without a tag"
            fix = "use !Memory, !Container and !Compute"
            raise DataflowError(f"{where}: arch.nodes[{at}]", f"{tag} is not known", fix)
    rate = _clock(rows, where)
    nodes: dict[str, object] = {}
    kept: dict[str, str] = {}
    above: str | None = None
    for at, row in enumerate(rows):
        here = f"{where}: arch.nodes[{at}]"
        spatial = items(row.entries.get("spatial", []), f"{here}.spatial")
        for k, entry in enumerate(spatial):
            place = f"{here}.spatial[{k}]"
            fan = entries(entry, place)
            key = str(fan.get("name"))
            nodes[key] = {**_fanout(fan, place), **_under(above)}
            above = key
        if row.tag == "Container":
            continue
        key = str(row.entries.get("name"))
        make = (
            _memory(row.entries, here, rate, kept) if row.tag == "Memory" else _compute(row, here)
        )
        nodes[key] = {**make, **_under(above)}
        if row.tag == "Memory":
            above = key
    return {"version": 1, "name": name, "clock_mhz": float(rate / 10**6), "nodes": nodes}


def _under(above: str | None) -> dict[str, object]:
    return {} if above is None else {"under": above}


def _clock(rows: list[Tagged], where: str) -> Fraction:
    for at, row in enumerate(rows):
        if row.tag == "Compute":
            actions = _actions(row.entries, f"{where}: arch.nodes[{at}]")
            rate = number(actions["compute"].get("throughput", 1), f"{where}: arch.nodes[{at}]")
            return rate if rate is not None else Fraction(10**9)
    raise DataflowError(f"{where}: arch.nodes", "there is no compute unit", "add a !Compute")


def _actions(node: dict[str, Value], where: str) -> dict[str, dict[str, Value]]:
    found = {}
    for at, row in enumerate(items(node.get("actions", []), f"{where}.actions")):
        action = entries(row, f"{where}.actions[{at}]")
        found[str(action.get("name"))] = action
    for needed in ("compute",) if "read" not in found else ("read", "write"):
        if needed not in found:
            raise DataflowError(f"{where}.actions", f"{needed} is missing", "add the action")
    return found


def _fanout(fan: dict[str, Value], where: str) -> dict[str, object]:
    reuse = [r.strip() for r in re.split(r"[|]", str(fan.get("reuse", "Nothing")))]
    roles = [r for r in reuse if r in _ROLES]
    if any(r in ("All", "all") for r in reuse):
        roles = list(_ROLES)
    elif len(roles) != len([r for r in reuse if r != "Nothing"]):
        fix = "write roles, such as input | output"
        raise DataflowError(f"{where}.reuse", f"{fan.get('reuse')!r} is not known", fix)
    size = whole(fan.get("fanout"), f"{where}.fanout")
    share = finite(fan.get("min_usage", 0), f"{where}.min_usage")
    least = "largest" if share == 1 else max(1, -int(-(share * size) // 1))
    return {
        "kind": "fanout",
        "size": size,
        "shares": roles,
        "only_irrelevant_to": roles,
        "least_use": least,
    }


def _memory(
    node: dict[str, Value], where: str, rate: Fraction, kept: dict[str, str]
) -> dict[str, object]:
    actions = _actions(node, where) if node.get("actions") else {}
    size = number(node.get("size", "inf"), f"{where}.size")
    ports: dict[str, object] = {}
    split = str(node.get("separate_read_write_ports", "False")).lower() == "true"
    energy: dict[str, float] = {"read": 0.0, "write": 0.0}
    width = 1
    for action in ("read", "write"):
        row = actions.get(action, {})
        place = f"{where}.actions.{action}"
        width = whole(row.get("bits_per_action", 1), place)
        energy[action] = float(finite(row.get("energy", 0), place) * 10**12)
        speed = number(row.get("throughput", "inf"), place)
        cycle: object = "unbounded" if speed is None else float(speed * width / rate)
        name = action if split else "any"
        if not split and name in ports and ports[name] != _port(["read", "write"], cycle):
            fix = "say separate_read_write_ports: True, or use one throughput"
            raise DataflowError(place, "has another throughput than the read", fix)
        ports[name] = _port([action] if split else ["read", "write"], cycle)
    tensors = entries(node.get("tensors", {}), f"{where}.tensors")
    keep = _set(str(tensors.get("keep", "Nothing")), kept)
    may = _set(str(tensors.get("may_keep", "Nothing")), kept)
    kept[str(node.get("name"))] = keep
    return {
        "kind": "memory",
        **({"size_bytes": "unbounded"} if size is None else {"size_bits": int(size)}),
        "line_bits": 1,
        "may_hold": ["all", "partial", "parameter"],
        "keep": keep,
        "bypass": f"~(({keep}) | ({may}))",
        "ports": ports,
        "energy_pj": {**energy, "bits": width},
        "leakage_mw": float(finite(node.get("leak_power", 0), f"{where}.leak_power") * 1000),
    }


def _port(does: list[str], cycle: object) -> dict[str, object]:
    return {"does": does, "bits_per_cycle": cycle}


def _set(text: str, kept: dict[str, str]) -> str:
    """Their set in our words; a memory's name stands for what it keeps."""

    def word(found: re.Match[str]) -> str:
        name = found[0]
        known = {"All": "all", "Nothing": "~all", "Intermediates": "intermediate"}
        known |= {"Inputs": "input", "Outputs": "output"}
        return f"({kept[name]})" if name in kept else known.get(name, name)

    return re.sub(r"[A-Za-z_]\w*", word, text)


def _compute(row: Tagged, where: str) -> dict[str, object]:
    action = _actions(row.entries, where)["compute"]
    energy = finite(action.get("energy", 0), f"{where}.actions.compute") * 10**12
    operation = {"operators": ["mac", "any"], "inputs": ["int8", "int8"], "output": "int8"}
    leak = finite(row.entries.get("leak_power", 0), f"{where}.leak_power") * 1000
    return {
        "kind": "compute",
        "executes": [operation],
        "energy_pj": float(energy),
        "leakage_mw": float(leak),
    }


def accelforge_mapping(text: str, where: str) -> Mapping:
    """The mapping of ``mapping: {nodes: [...]}``. Raises DataflowError."""
    top = entries(read(text, where), where)
    mapping = entries(top.get("mapping"), f"{where}: mapping")
    nodes = items(mapping.get("nodes"), f"{where}: mapping.nodes")
    return Mapping((Group("g0", _nest(nodes, f"{where}: mapping.nodes", 0)),))


def _nest(rows: list[Value], where: str, depth: int) -> Nest:
    if depth > 40:
        raise DataflowError(where, "is nested more than 40 deep", "use fewer branches")
    found: list[Node] = []
    for at, row in enumerate(rows):
        here = f"{where}[{at}]"
        if not isinstance(row, Tagged):
            raise DataflowError(here, "has no tag", "write !Storage, !Temporal, ...")
        if found and isinstance(found[-1], (Compute, Branches)):
            raise DataflowError(here, "follows the end of a nest", "put it above")
        found += _node(row, here, depth)
    if not found or not isinstance(found[-1], (Compute, Branches)):
        raise DataflowError(where, "does not end in a !Compute", "add one")
    return tuple(found)


def _node(row: Tagged, where: str, depth: int) -> tuple[Node, ...]:
    def field(name: str) -> Value:
        if name not in row.entries:
            raise DataflowError(f"{where}.{name}", "is missing", f"add {name}")
        return row.entries[name]

    match row.tag:
        case "Storage":
            return (Hold(str(field("component")), names(field("tensors"), where)),)
        case "Temporal":
            tile = whole(field("tile_shape"), f"{where}.tile_shape")
            return (Loop(names(field("rank_variable"), where), tile),)
        case "Spatial":
            tile = whole(field("tile_shape"), f"{where}.tile_shape")
            return (Loop(names(field("rank_variable"), where), tile, str(field("name"))),)
        case "Compute":
            return (Compute(str(field("einsum")), str(field("component"))),)
        case "Sequential" | "Pipeline":
            parts = []
            for at, part in enumerate(items(field("nodes"), where)):
                here = f"{where}.nodes[{at}]"
                inner = items(entries(part, here).get("nodes"), f"{here}.nodes")
                parts.append(_nest(inner, f"{here}.nodes", depth + 1))
            return (Branches(tuple(parts), row.tag == "Pipeline"),)
        case "Nested":
            return _nest(items(field("nodes"), where), f"{where}.nodes", depth + 1)
        case "Reservation":
            return ()
    fix = "use !Storage, !Temporal, !Spatial, !Sequential, !Pipeline, !Nested, !Compute"
    raise DataflowError(where, f"!{row.tag} is not known", fix)
