"""Writes docs/architecture.md, the reference of architecture files, from their schema.

``python -m docs.generate_architecture``; a test keeps the page up to date.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from dataflow.arch import builtin_names
from dataflow.arch.schema import (
    NODE_SPECS,
    BusSpec,
    DeviceSpec,
    EnergySpec,
    FileSpec,
    OperationSpec,
    PortSpec,
)

TARGET = Path(__file__).with_name("architecture.md")

HEAD = """\
# Architecture files

One YAML file describes one accelerator: a tree of memories, fan-outs and compute units, outermost
first. It is the only place where a size, a width, a latency or an energy stands. Written by
`python -m docs.generate_architecture` from the schema; a test keeps it up to date.

- `dataflow arch` lists the built-in files ({builtin}); `dataflow arch NAME --source` prints one
  to start your own from.
- Every command takes a built-in name or a file: `--arch mine.yaml`.
- A wrong field is refused with its path, its value and what it must be; unknown fields are
  refused.
- Energies are per access of one line, or of `bits` bits; every number should say its source in a
  comment.
- A file that the RTL library cannot build is refused for RTL with the reason
  (`dataflow/machine/buildable.py` says what it can).

"""

PARTS: tuple[tuple[str, type[BaseModel]], ...] = (
    ("The file", FileSpec),
    *((f"`kind: {kind}`", spec) for kind, spec in NODE_SPECS.items()),
    ("A port of a memory", PortSpec),
    ("`energy_pj` of a memory", EnergySpec),
    ("`bus` of an external memory", BusSpec),
    ("`device` of a bus", DeviceSpec),
    ("An entry of `executes`", OperationSpec),
)


def page() -> str:
    """The whole page."""
    names = ", ".join(f"`{name}`" for name in builtin_names())
    return HEAD.format(builtin=names) + "\n".join(_part(title, spec) for title, spec in PARTS)


def _part(title: str, spec: type[BaseModel]) -> str:
    about = (spec.__doc__ or "").strip().split("\n\n")[0].replace("\n", " ").replace("``", "`")
    lines = [f"## {title}", "", about, "", "| field | must be | default | example |"]
    lines.append("|---|---|---|---|")
    lines += [_row(name, field) for name, field in spec.model_fields.items() if name != "kind"]
    return "\n".join(lines) + "\n"


def _row(name: str, field: FieldInfo) -> str:
    default = "required" if field.is_required() else f"`{field.get_default()}`"
    example = f"`{field.examples[0]}`" if field.examples else ""
    return f"| `{name}` | {field.description or ''} | {default} | {example} |".replace("||", "| |")


if __name__ == "__main__":
    TARGET.write_text(page(), encoding="utf-8")
