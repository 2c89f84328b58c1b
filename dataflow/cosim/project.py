"""An output folder of compile, read back: what simulate and csim need of it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped, unused-ignore]

from dataflow.arch import load_architecture
from dataflow.cosim.taps import Resident
from dataflow.errors import DataflowError
from dataflow.frontend import load_model, load_proto
from dataflow.ir import Cascade, text
from dataflow.machine import Machine, machine_of
from dataflow.machine.program import LayerCounts, Program, TensorPlace
from dataflow.npz import Array, ArraySpec, arrays_or_file, check_arrays, load_npz

CASCADE = "ir/cascade.yaml"
MODEL = "ir/model.onnx"
ARCHITECTURE = "architecture.yaml"
PROGRAM = "data/program.json"
INPUTS = "data/inputs.npz"
OUTPUTS = "data/outputs.npz"
HEAD = "host/head.onnx"
TAIL = "host/tail.onnx"
CONFIG = "config.yaml"


@dataclass(frozen=True)
class Project:
    """The parts of an output folder.

    Attributes:
        cascade: what the network means: `ir/cascade.yaml`.
        driver: the same, but head and tail are what the host is given to run, `host/*.onnx`.
        summary: `report/summary.json`.
        torch_spec: `FILE.py:FACTORY` given to compile, or None.
        stored: the stored seeded inputs.
        residents: tensors that stay in the activation memory.
    """

    cascade: Cascade
    driver: Cascade
    model: onnx.ModelProto
    machine: Machine
    program: Program
    summary: Mapping[str, Any]
    torch_spec: str | None
    stored: Mapping[str, Array]
    residents: tuple[Resident, ...]

    def check_inputs(self, inputs: Path | Mapping[str, Array] | None) -> Mapping[str, Array]:
        """The given inputs or those of an .npz file, checked against the network, or the stored
        ones."""
        if inputs is None:
            return self.stored
        tensors = self.cascade.entering
        specs = [ArraySpec(t.label or t.name, t.shape, str(t.dtype)) for t in tensors]
        return arrays_or_file(inputs, lambda arrays: check_arrays(arrays, specs))


def load_project(out: Path) -> Project:
    """Reads an output folder; DataflowError names what is missing."""
    for name in (CASCADE, MODEL, ARCHITECTURE, PROGRAM, INPUTS, "report/summary.json"):
        if not (out / name).is_file():
            raise DataflowError(str(out / name), "is missing", "compile again")
    with reading(out):
        document = json.loads((out / PROGRAM).read_text(encoding="utf-8"))
        summary = json.loads((out / "report" / "summary.json").read_text(encoding="utf-8"))
        _require_numbers(summary)
        cascade = text.load(out / CASCADE)
        stored = load_npz(out / INPUTS)
        names = [t.label or t.name for t in cascade.entering]
        return Project(
            cascade=cascade,
            driver=replace(
                cascade,
                head=_part(out / HEAD, cascade.head),
                tail=_part(out / TAIL, cascade.tail),
            ),
            model=load_proto(out / MODEL),
            machine=machine_of(load_architecture(str(out / ARCHITECTURE))),
            program=read_program(out),
            summary=summary,
            torch_spec=document["torch"],
            stored={name: stored[name] for name in names},
            residents=tuple(
                Resident(**{**e, "shape": tuple(e["shape"]), "layout": tuple(e["layout"])})
                for e in document["residents"]
            ),
        )


def _part(path: Path, meant: Cascade | None) -> Cascade | None:
    """A part that the host runs; DataflowError when it is missing or has other ports."""
    if meant is None:
        return None
    if not path.is_file():
        raise DataflowError(str(path), "is missing", "compile again")
    found = load_model(path)
    for ports in ("entering", "leaving"):
        wanted, got = getattr(meant, ports), getattr(found, ports)
        if [(t.label, t.shape, t.dtype) for t in wanted] != [
            (t.label, t.shape, t.dtype) for t in got
        ]:
            raise DataflowError(str(path), "has other inputs or outputs", "compile again")
    return found


@contextmanager
def reading(out: Path) -> Iterator[None]:
    """Turns what reading a damaged output folder raises into a DataflowError."""
    try:
        yield
    except (*DAMAGED, OSError) as error:
        detail = (str(error).strip().splitlines() or [""])[0]
        raise DataflowError(
            str(out), f"is damaged ({type(error).__name__}: {detail})", "compile again"
        ) from error


DAMAGED = (KeyError, TypeError, ValueError, AttributeError, IndexError, RecursionError, DecodeError)
"""What files of an output folder raise when they are cut or changed; text is not UTF-8 then, JSON
lacks keys or has values of another type."""


def _require_numbers(summary: Mapping[str, Any]) -> None:
    """Raises a member of `DAMAGED` unless the summary has what a result is computed from.

    Predictions are null where only the HLS project was made.
    """
    keys = ("cycles", "dram_read_bytes", "dram_write_bytes")
    numbers = [summary["macs"], *(summary["predicted"][key] for key in keys)]
    for layer in summary["layers"]:
        numbers += [layer["macs"], layer["predicted_cycles"]]
        if not isinstance(layer["name"], str):
            raise TypeError("a layer's name is no text")
    wrong = [n for n in numbers if n is not None and type(n) is not int]
    if wrong or not isinstance(summary["host"], list):
        raise TypeError("summary.json has values of other types")


def write_program(
    out: Path, program: Program, residents: Sequence[Resident], torch_spec: str | None
) -> None:
    """Writes `data/program.bin`, `data/weights.bin` and their description."""
    data = out / "data"
    data.mkdir(parents=True, exist_ok=True)
    (data / "program.bin").write_bytes(program.code)
    (data / "weights.bin").write_bytes(program.image)
    document = {
        "name": program.name,
        "arch": program.arch,
        "line_bytes": program.line_bytes,
        "image_base": program.image_base,
        "dram_bytes": program.dram_bytes,
        "tensors": [vars(place) for _, place in sorted(program.tensors.items())],
        "layers": [vars(layer) for layer in program.layers],
        "residents": [vars(resident) for resident in residents],
        "torch": torch_spec,
    }
    (out / PROGRAM).write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def read_program(out: Path) -> Program:
    """The program of an output folder; its instructions only as code."""
    document = json.loads((out / PROGRAM).read_text(encoding="utf-8"))
    places = [
        TensorPlace(**{**entry, "shape": tuple(entry["shape"]), "layout": tuple(entry["layout"])})
        for entry in document["tensors"]
    ]
    return Program(
        name=document["name"],
        arch=document["arch"],
        line_bytes=document["line_bytes"],
        instructions=(),
        code=(out / "data" / "program.bin").read_bytes(),
        image=(out / "data" / "weights.bin").read_bytes(),
        image_base=document["image_base"],
        dram_bytes=document["dram_bytes"],
        tensors={place.name: place for place in places},
        layers=tuple(LayerCounts(**entry) for entry in document["layers"]),
    )
