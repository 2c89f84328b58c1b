"""The golden mappings of the reference data as objects of this package."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from dataflow.arch import Architecture, resolve
from dataflow.ir.text import loads
from dataflow.mapping import (
    Branches,
    Compute,
    Group,
    Hold,
    Loop,
    Mapping,
    Nest,
    Node,
    Workload,
    workload_of,
)

_DATA = Path(__file__).parents[1] / "golden" / "mapper_golden.json"
"""Mappings of AccelForge 1.0.467 and ZigZag 3.9.1 with every count, energy and time."""
CASES = (
    "G1_matmul64_1mac",
    "G2_matmul256_8x8_energy",
    "G4_fused2_256_8x8_energy",
    "G6_matmul256_ws_energy",
    "G8_conv3x3_small_ws_energy",
)


def golden() -> dict[str, Any]:
    """The whole file."""
    found: dict[str, Any] = json.loads(_DATA.read_text())
    return found


def case(name: str) -> dict[str, Any]:
    """One case."""
    found: dict[str, Any] = next(c for c in golden()["cases"] if c["id"] == name)
    return found


def workload(name: str) -> Workload:
    """A workload of the file."""
    return workload_of(loads(workload_text(name)))


def workload_text(name: str) -> str:
    """The text cascade of a workload."""
    spec = golden()["workloads"][name]
    shapes: dict[str, int] = {v.upper(): n for v, n in spec["rank_sizes"].items()}
    declaration: dict[str, str] = {}
    dims: dict[str, str] = {}
    form: dict[str, str] = {}
    lines = []
    for einsum in spec["einsums"]:
        names = list(einsum["tensors"])
        text = {t: ", ".join(einsum["tensors"][t]) for t in names}
        for tensor in names:
            index = einsum["tensors"][tensor]
            size = [sum(spec["rank_sizes"][v] - 1 for v in i.split("+")) + 1 for i in index]
            declaration[tensor] = f"[{', '.join(_rank(i) for i in index)}]"
            shapes.update({_rank(i): n for i, n in zip(index, size, strict=True)})
            bits = spec.get("word_bits", 8)
            form[tensor] = f"{{bits: {bits}, role: {_role(einsum, tensor)}}}"
        inputs = [t for t in names if t != einsum["output"]]
        right = " * ".join(f"{t}[{text[t]}]" for t in inputs)
        lines.append(f"{einsum['output']}[{text[einsum['output']]}] = {right}")
    document = ["einsum:", "  name: golden", "  shapes:"]
    document += [f"    {rank}: {n}" for rank, n in shapes.items()]
    document += ["  declaration:", *(f"    {t}: {r}" for t, r in declaration.items())]
    document += [f"    {t}: {d}" for t, d in dims.items()]
    names = [e["name"] for e in spec["einsums"]]
    outputs = [e["output"] for e in spec["einsums"]]
    document += ["  names:", *(f"    {o}: {n}" for o, n in zip(outputs, names, strict=True))]
    document += ["  expressions: |", *(f"    {line}" for line in lines)]
    document += ["format:", *(f"  {t}: {f}" for t, f in form.items())]
    return "\n".join(document) + "\n"


def _rank(index: str) -> str:
    return index.upper().replace("+", "")


def _role(einsum: dict[str, Any], tensor: str) -> str:
    # The consumer of an intermediate reads it as an input; nothing reads an output.
    return "weight" if einsum.get("roles", {}).get(tensor) == "weight" else "input"


def architecture(name: str) -> Architecture:
    """An architecture of the access-count cases."""
    spec = golden()["architectures"][name]
    word = spec["word_bits"]
    nodes: dict[str, Any] = {}
    above: str | None = None

    def add(key: str, node: dict[str, Any]) -> None:
        nonlocal above
        nodes[key] = {**node, **({} if above is None else {"under": above})}
        above = key

    for level in spec["levels"]:
        holds = {"all": ["all"], "not_intermediate": ["input", "weight", "output"]}
        rate = level["words_per_ns"]
        size = level["size_words"]
        add(
            level["name"],
            {
                "kind": "memory",
                **({"size_bytes": "unbounded"} if size is None else {"size_bits": size * word}),
                "line_bits": word,
                "must_hold": holds.get(level["must_hold"], [level["must_hold"]]),
                "may_hold": holds.get(level["may_hold"], [level["may_hold"]]),
                "ports": {
                    "any": {
                        "does": ["read", "write"],
                        "bits_per_cycle": "unbounded" if rate is None else float(rate * word),
                    }
                },
                "energy_pj": {
                    "read": float(level["read_pJ"]),
                    "write": float(level["write_pJ"]),
                    "bits": word,
                },
            },
        )
        if spec.get("fanout_below") == level["name"]:
            for fanout in spec["fanout"]:
                roles = [fanout["reuse"]]
                node = {"kind": "fanout", "size": fanout["size"], "shares": roles}
                add(fanout["name"], {**node, "only_irrelevant_to": roles})
    mac = spec["mac"]
    operation = {"operators": ["mac"], "inputs": ["int8", "int8"], "output": "int8"}
    unit = {"kind": "compute", "executes": [operation], "energy_pj": float(mac["compute_pJ"])}
    add(mac["name"], {**unit, "per_cycle": float(mac["macs_per_ns"])})
    file = {"version": 1, "name": name, "clock_mhz": 1000.0, "nodes": nodes}
    return resolve(file, f"{name}.yaml")


def mapping(name: str) -> Mapping:
    """The mapping of a case."""
    return Mapping((Group("g0", nest(case(name)["mapping"])),))


def nest(rows: list[dict[str, Any]]) -> Nest:
    """A nest of the file."""
    nodes: list[Node] = []
    for row in rows:
        if "hold" in row:
            nodes.append(Hold(row["hold"], tuple(row["tensors"])))
        elif "for" in row:
            nodes.append(Loop.of(row["for"], row["tile"]))
        elif "par" in row:
            nodes.append(Loop.of(row["par"], row["tile"], row["fanout"]))
        elif "seq" in row:
            nodes.append(Branches(tuple(nest(part) for part in row["seq"])))
        else:
            nodes.append(Compute(row["compute"], "MAC"))
    return tuple(nodes)
