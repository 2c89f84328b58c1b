"""Files of AccelForge and ZigZag as files of ours; what a file is follows from its keys."""

from __future__ import annotations

import re
from typing import Literal

import yaml

from dataflow.arch import Architecture, resolve
from dataflow.errors import DataflowError
from dataflow.mapping.check import verify
from dataflow.mapping.peers.accelforge import accelforge_document, accelforge_mapping
from dataflow.mapping.peers.reading import read
from dataflow.mapping.peers.zigzag import zigzag_document, zigzag_mapping
from dataflow.mapping.tree import Mapping
from dataflow.mapping.workload import Workload

Tool = Literal["accelforge", "zigzag"]
Kind = Literal["architecture", "mapping"]
_KEYS: dict[str, tuple[Tool, Kind]] = {
    "arch": ("accelforge", "architecture"),
    "mapping": ("accelforge", "mapping"),
    "operational_array": ("zigzag", "architecture"),
    "temporal_mapping": ("zigzag", "mapping"),
}


class _Plain(yaml.SafeDumper):
    """Writes every value out: our files have no aliases."""

    def ignore_aliases(self, data: object) -> bool:
        return True


def kind_of(text: str, where: str) -> set[tuple[Tool, Kind]]:
    """What a file holds; an AccelForge file may hold both. Raises DataflowError for neither."""
    top = read(text, where)
    if isinstance(top, list) and top:
        top = top[0]
    found = {kind for key, kind in _KEYS.items() if isinstance(top, dict) and key in top}
    if not found:
        raise DataflowError(
            where,
            "is no architecture or mapping of AccelForge or ZigZag",
            f"give a file with one of the keys {', '.join(_KEYS)}",
        )
    return found


def architecture_text(text: str, where: str, name: str, partial_bits: int = 16) -> str:
    """Our architecture file that says what a file of theirs says.

    Args:
        name: of the architecture, made an identifier.
        partial_bits: width of partial sums, which ZigZag states with the workload.
    """
    name = re.sub(r"\W+", "_", name, flags=re.ASCII).strip("_")[:60] or "imported"
    name = name if name[0].isalpha() else f"arch_{name}"
    tools = {tool for tool, kind in kind_of(text, where) if kind == "architecture"}
    if not tools:
        raise DataflowError(where, "holds no architecture", "give --workload for a mapping")
    if "zigzag" in tools:
        document = {**zigzag_document(text, where, partial_bits), "name": name}
    else:
        document = accelforge_document(text, where, name)
    resolve(document, where)
    return yaml.dump(document, Dumper=_Plain, sort_keys=False, default_flow_style=None, width=96)


def peer_mapping(text: str, where: str, workload: Workload, arch: Architecture | None) -> Mapping:
    """The mapping of a file of theirs for a workload of ours, checked where ``arch`` is given.

    Raises:
        DataflowError: a wrong field, or a mapping that does not fit workload and architecture.
    """
    tools = {tool for tool, kind in kind_of(text, where) if kind == "mapping"}
    if not tools:
        raise DataflowError(where, "holds no mapping", "leave out --workload for an architecture")
    if "zigzag" in tools:
        if arch is None:
            raise DataflowError("--arch", "is missing", "give the imported architecture")
        if len(workload.works) != 1:
            what = f"has {len(workload.works)} Einsums, and a ZigZag mapping is of one layer"
            raise DataflowError("--workload", what, "give a text cascade with that layer alone")
        mapping = zigzag_mapping(text, where, workload.works[0], arch)
    else:
        mapping = accelforge_mapping(text, where)
    if arch is not None:
        verify(mapping, workload, arch, where)
    return mapping
