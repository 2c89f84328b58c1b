"""Importing what other tools wrote."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from dataflow import arguments
from dataflow.api.models import load
from dataflow.api.shared import StrPath, new_file
from dataflow.arguments import guarded
from dataflow.errors import DataflowError


@dataclass(frozen=True)
class Imported:
    """A file of ours, made from one of AccelForge or ZigZag.

    Attributes:
        path: the file written.
        kind: ``architecture`` or ``mapping``.
    """

    path: Path
    kind: str


@guarded
def import_file(
    file: StrPath,
    out: StrPath,
    *,
    workload: StrPath | None = None,
    arch: StrPath | None = None,
    partial_bits: int = 16,
) -> Imported:
    """An architecture or mapping of AccelForge or ZigZag as a file of ours.

    Args:
        file: YAML, templates filled in.
        out: file to write: an architecture file, or a mapping file that ``cost`` reads.
        workload: text cascade or ONNX model that the mapping is of; without it the architecture
            of the file is imported.
        arch: architecture of the mapping, ours; an AccelForge mapping is only checked against it.
        partial_bits: width of partial sums of a ZigZag architecture.

    Raises:
        DataflowError: a wrong field, with its path and the fix.
    """
    from dataflow.arch import load_architecture
    from dataflow.files import write_atomic
    from dataflow.mapping import workload_of
    from dataflow.mapping.file import save_mapping
    from dataflow.mapping.peers import architecture_text, peer_mapping

    path, target = arguments.path(file, "file"), new_file(out)
    bits = arguments.whole(partial_bits, "--partial-bits")
    if not 1 <= bits <= 64:
        raise DataflowError("--partial-bits", f"{bits} is not from 1 to 64", "use for example 16")
    text = _text(path)
    if workload is None:
        if arch is not None:
            raise DataflowError("--arch", "is of a mapping", "give --workload, or leave it out")
        made = architecture_text(text, path.name, target.stem, bits)
        write_atomic(target, made.encode())
        return Imported(target, "architecture")
    machine = None if arch is None else load_architecture(arguments.path(arch, "--arch"))
    cascade = load(workload)
    mapping = peer_mapping(text, path.name, workload_of(cascade), machine)
    save_mapping(target, cascade, mapping)
    return Imported(target, "mapping")


def _text(path: Path) -> str:
    fix = "give a YAML file of AccelForge or ZigZag"
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise DataflowError(str(path), f"cannot be read ({error.strerror})", fix) from error
    except UnicodeDecodeError as error:
        raise DataflowError(str(path), "is not UTF-8 text", fix) from error
