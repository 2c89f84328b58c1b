"""Architectures and mappings as ZigZag 3.9 writes them.

Sizes and widths are in bits, costs in pJ for an access of the full width. A memory that does not
serve an array dimension has an instance for each of its lanes, so that it stands below it. A
mapping file of ZigZag fixes the spatial mapping and the order of the temporal loops; where the
loops change level is its search's result (``temporal_mapping`` of its output) and is needed here.
"""

from __future__ import annotations

from dataflow.arch import Architecture, FanOut, Memory, resolve
from dataflow.errors import DataflowError
from dataflow.mapping.peers.reading import Value, entries, finite, items, names, read, whole
from dataflow.mapping.tree import Compute, Group, Hold, Loop, Mapping, Node
from dataflow.mapping.workload import Work

ROLES = {"I1": "input", "I2": "weight", "O": "output"}
_SIDES = {
    "fh": ("write", "high"),
    "tl": ("read", "low"),
    "fl": ("write", "low"),
    "th": ("read", "high"),
}
UNIT = "mac"
"""Name of the imported array's unit."""


def zigzag_architecture(text: str, where: str, partial_bits: int = 16) -> Architecture:
    """The architecture of a hardware file.

    Args:
        text: YAML with ``memories`` (innermost first) and ``operational_array``.
        where: names the file in messages.
        partial_bits: width of partial sums, which ZigZag states with the workload.

    Raises:
        DataflowError: a wrong field, or memories that are no chain.
    """
    return resolve(zigzag_document(text, where, partial_bits), where)


def zigzag_document(text: str, where: str, partial_bits: int = 16) -> dict[str, object]:
    """The data of our architecture file that says the same; see `zigzag_architecture`."""
    top = entries(read(text, where), where)
    array = entries(top.get("operational_array"), f"{where}: operational_array")
    dims = names(array.get("dimensions"), f"{where}: operational_array.dimensions")
    sizes = [
        whole(size, f"{where}: operational_array.sizes[{k}]")
        for k, size in enumerate(items(array.get("sizes"), f"{where}: operational_array.sizes"))
    ]
    if len(sizes) != len(dims):
        at = f"{where}: operational_array.sizes"
        raise DataflowError(at, f"has {len(sizes)} sizes for {len(dims)} dimensions", "match them")
    memories = entries(top.get("memories"), f"{where}: memories")
    ordered = list(reversed(memories.items()))  # outermost first
    served = {
        name: set(names(entries(m, f"{where}: memories.{name}").get("served_dimensions"), where))
        for name, m in ordered
    }
    ordered.sort(key=lambda item: -len(served[item[0]]))
    nodes: dict[str, object] = {}
    above: str | None = None
    open_dims = list(dims)

    def add(key: str, node: dict[str, object]) -> None:
        nonlocal above
        nodes[key] = node if above is None else {**node, "under": above}
        above = key

    def fan(dim: str) -> None:
        size = sizes[dims.index(dim)]
        add(dim, {"kind": "fanout", "size": size, "shares": ["input", "weight", "output"]})
        open_dims.remove(dim)

    for name, memory in ordered:
        for dim in [d for d in open_dims if d not in served[name]]:
            fan(dim)
        lost = served[name] - set(open_dims)
        if lost:
            at = f"{where}: memories.{name}.served_dimensions"
            what = f"{', '.join(sorted(lost))} is served, and a memory above does not serve it"
            raise DataflowError(at, what, "use memories of which each serves less than the last")
        add(name, _memory(entries(memory, where), f"{where}: memories.{name}"))
    for dim in list(open_dims):
        fan(dim)
    output = f"int{partial_bits}"
    operation = {"operators": ["mac"], "inputs": ["int8", "int8"], "output": output}
    energy = float(finite(array.get("unit_energy", 0), f"{where}: operational_array.unit_energy"))
    add(UNIT, {"kind": "compute", "executes": [operation], "energy_pj": energy})
    name = str(top.get("name", "zigzag"))
    return {"version": 1, "name": name, "clock_mhz": 1000.0, "nodes": nodes}


def _memory(memory: dict[str, Value], where: str) -> dict[str, object]:
    def count(name: str, default: int | None = None) -> int:
        if name not in memory and default is not None:
            return default
        return whole(memory.get(name), f"{where}.{name}")

    reads, writes = count("r_bw"), count("w_bw")
    least = {
        "read": count("min_r_granularity", reads),
        "write": count("min_w_granularity", writes),
    }
    operands = [o for o in names(memory.get("operands"), where) if o in ROLES]
    rows = items(memory.get("ports"), f"{where}.ports")
    ports: dict[str, dict[str, list[str]]] = {}
    for operand, row in zip(names(memory.get("operands"), where), rows, strict=False):
        if operand not in ROLES:
            continue
        for key, port in entries(row, f"{where}.ports").items():
            if key not in _SIDES:
                fix = f"use {', '.join(_SIDES)}"
                raise DataflowError(f"{where}.ports", f"{key!r} is no direction", fix)
            action, side = _SIDES[key]
            found = ports.setdefault(str(port), {"does": [], "sides": [], "carries": []})
            for field, value in (("does", action), ("sides", side), ("carries", ROLES[operand])):
                if value not in found[field]:
                    found[field].append(value)
    made: dict[str, object] = {}
    for name, port in ports.items():
        width = max(
            reads if "read" in port["does"] else 0, writes if "write" in port["does"] else 0
        )
        smallest = min(least[action] for action in port["does"])
        made[name] = {**port, "bits_per_cycle": width, "min_bits": smallest}
    write = finite(memory.get("w_cost", 0), f"{where}.w_cost") * reads / writes
    return {
        "kind": "memory",
        "size_bits": count("size"),
        "line_bits": 1,
        "may_hold": [ROLES[o] for o in operands],
        "ports": made,
        "energy_pj": {
            "read": float(finite(memory.get("r_cost", 0), f"{where}.r_cost")),
            "write": float(write),
            "bits": reads,
        },
    }


def zigzag_mapping(text: str, where: str, work: Work, arch: Architecture) -> Mapping:
    """The mapping of one layer.

    The text has ``spatial_mapping`` (``D1: [K, 32]``, or a list of such pairs), and
    ``temporal_mapping`` with, for each operand ``O``, ``W``, ``I``, the loops of each level,
    innermost first: ``O: [[], [[OX, 4], [C, 2]], [[K, 4]]]``. Loop names are the Einsum's
    variables in any case.

    Raises:
        DataflowError: a wrong field; operands that disagree about the order of the loops.
    """
    top = read(text, where)
    top = entries(top[0] if isinstance(top, list) and top else top, where)
    temporal = entries(top.get("temporal_mapping"), f"{where}: temporal_mapping")
    variables = {v.lower(): v for v in work.sizes}

    def loop(row: Value, place: str) -> tuple[str, int]:
        parts = [p.strip() for p in row.split(",")] if isinstance(row, str) else list(row or [])
        if len(parts) != 2 or str(parts[0]).lower() not in variables:
            fix = f"write [variable, trips]; variables: {', '.join(work.sizes)}"
            raise DataflowError(place, f"{row!r} is no loop of {work.name}", fix)
        return variables[str(parts[0]).lower()], whole(parts[1], place)

    order: list[tuple[str, int]] | None = None
    below: dict[str, list[int]] = {}
    for name in ("O", "W", "I"):
        place = f"{where}: temporal_mapping.{name}"
        levels = [
            [loop(row, place) for row in items(level, place)]
            for level in items(temporal.get(name), place)
        ]
        flat = [row for level in levels for row in level]
        if order is not None and flat != order:
            raise DataflowError(place, "has other loops than O", "use one order for all operands")
        order = flat
        below[name] = [sum(len(level) for level in levels[: k + 1]) for k in range(len(levels))]
    assert order is not None
    spatial = []
    for dim, rows in entries(top.get("spatial_mapping"), f"{where}: spatial_mapping").items():
        place = f"{where}: spatial_mapping.{dim}"
        if not isinstance(arch.find(dim), FanOut):
            raise DataflowError(place, f"{arch.name} has no dimension {dim}", "use one it has")
        pair = isinstance(rows, list) and len(rows) == 2 and not isinstance(rows[0], list)
        single = pair and "," not in str(rows[0])
        for row in [rows] if single else items(rows, place):
            spatial.append((dim, *loop(row, place)))
    return Mapping((Group(work.name, _tree(order, below, spatial, work, arch)),))


def _tree(
    order: list[tuple[str, int]],
    below: dict[str, list[int]],
    spatial: list[tuple[str, str, int]],
    work: Work,
    arch: Architecture,
) -> tuple[Node, ...]:
    if arch.find(UNIT) is None:
        fix = "give the architecture that was imported from ZigZag"
        raise DataflowError(arch.source, f"has no unit {UNIT}", fix)
    chain = [node.name for node in arch.path(UNIT)]
    tensors: dict[str, str] = {o.role: o.tensor for o in work.operands}
    count = len(order)
    # (loops outside, place in the machine, what): what stands at one place goes by the machine.
    rows: list[tuple[int, int, Hold | tuple[str, int, str]]] = []
    for name, role in (("O", "output"), ("W", "weight"), ("I", "input")):
        holders = [
            n for n in reversed(arch.path(UNIT)) if isinstance(n, Memory) and role in n.may_hold
        ]
        if len(holders) != len(below[name]):
            what = f"has {len(below[name])} levels, {arch.name} {len(holders)}"
            raise DataflowError(f"temporal_mapping.{name}", what, "give the loops of each level")
        for memory, inside in zip(holders, below[name], strict=True):
            hold = Hold(memory.name, (tensors[role],))
            rows.append((count - inside, chain.index(memory.name), hold))
    for dim, variable, trips in spatial:
        depth = chain.index(dim)
        outside = min((at for at, place, _ in rows if place > depth), default=count)
        rows.append((outside, depth, (variable, trips, dim)))
    for k, (variable, trips) in enumerate(reversed(order)):
        rows.append((k, len(chain), (variable, trips, "")))
    left = dict(work.sizes)
    nodes: list[Node] = []
    for _, _, row in sorted(rows, key=lambda r: r[:2]):
        if isinstance(row, Hold):
            nodes.append(row)
            continue
        variable, trips, dim = row
        left[variable] = -(-left[variable] // trips)
        nodes.append(Loop.of(variable, left[variable], dim or None))
    return (*nodes, Compute(work.name, UNIT))
