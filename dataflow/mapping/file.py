"""Mapping files: a text cascade with a ``mapping`` section, one YAML file that says it all.

The cascade is in the file, without the data of its weights, so that the file alone can be costed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

from dataflow.errors import DataflowError
from dataflow.files import write_atomic
from dataflow.ir.cascade import Cascade
from dataflow.ir.document import Document
from dataflow.ir.sections import Section
from dataflow.ir.text import dumps, loads
from dataflow.mapping.extract import workload_of
from dataflow.mapping.occupancy import variable_sizes
from dataflow.mapping.text import parse_mapping, print_mapping
from dataflow.mapping.tree import Mapping
from dataflow.mapping.workload import Workload

SECTION = "mapping"


@dataclass(frozen=True)
class MappingFile:
    """What a mapping file holds."""

    cascade: Cascade
    workload: Workload
    mapping: Mapping


def load_mapping(path: str | Path) -> MappingFile:
    """Reads a mapping file. Raises DataflowError with file, line and fix."""
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise DataflowError(
            str(path), f"cannot be read ({error.strerror})", "give the path of a mapping file"
        ) from error
    except UnicodeDecodeError as error:
        raise DataflowError(str(path), "is not UTF-8 text", "give a mapping file") from error
    return loads_mapping(text, str(path))


def loads_mapping(text: str, where: str = "mapping") -> MappingFile:
    """The mapping file of a text; ``where`` names it in messages."""
    if re.search(r"^format: mapping/\d", text, re.MULTILINE):
        raise DataflowError(
            where,
            "says how the layers of a compiled network are tiled",
            "give loop_trees.yaml, which compile writes beside it",
        )
    cascade = loads(text, where)
    section = cascade.sections.get(SECTION)
    if section is None:
        raise DataflowError(
            where, "has no 'mapping' section", "give a mapping file, such as dataflow map writes"
        )
    if not isinstance(section, str):
        raise DataflowError(f"{where}: mapping", "is no text block", "write mapping: | and a nest")
    document = Document(text, where)
    node = document.mapping(document.root, "the file")[SECTION]
    literal = getattr(node, "style", None) in ("|", ">")
    first = node.start_mark.line + (2 if literal else 1)
    return MappingFile(cascade, workload_of(cascade), parse_mapping(section, where, first))


def dumps_mapping(cascade: Cascade, mapping: Mapping) -> str:
    """The text of a mapping file; weights become inputs, as their data are not kept."""
    bare = without_data(cascade)
    sections = {k: v for k, v in bare.sections.items() if k != SECTION}
    text = dumps(replace(bare, sections=sections))
    nest = print_mapping(mapping, variable_sizes(workload_of(bare)))
    return text + f"{SECTION}: |\n" + "".join(f"  {line}\n" for line in nest.splitlines())


def save_mapping(path: str | Path, cascade: Cascade, mapping: Mapping) -> None:
    """Writes a mapping file, whole or not at all."""
    write_atomic(Path(path), dumps_mapping(cascade, mapping).encode())


def without_data(cascade: Cascade) -> Cascade:
    """The Cascade with its weights as inputs whose role in a mapping stays ``weight``."""
    weights = [n for n, t in cascade.tensors.items() if t.role == "weight"]
    if not weights:
        return cascade
    section = cascade.sections.get("format", {})
    form: dict[str, Section] = dict(section) if isinstance(section, dict) else {}
    for name in weights:
        entry = form.get(name, {})
        form[name] = {"role": "weight", **(entry if isinstance(entry, dict) else {})}
    tensors = {
        n: replace(t, role="input") if n in weights else t for n, t in cascade.tensors.items()
    }
    return replace(
        cascade,
        tensors=tensors,
        constants={},
        inputs=(*cascade.inputs, *weights),
        sections={**cascade.sections, "format": form},
    )
