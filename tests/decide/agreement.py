"""Whether `check` and `compile` say the same of a model: ``python -m tests.decide.agreement N``.

Compared are the whole verdicts: when both refuse, the texts too.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import onnx

from dataflow import api, flow
from dataflow.arch import load_architecture
from dataflow.decide import HostMode
from dataflow.decide.floats import is_float
from dataflow.errors import DataflowError
from dataflow.frontend import load_proto
from dataflow.machine import Machine, machine_of
from dataflow.npz import save_npz
from dataflow.quantise.search import CALIBRATION
from tests.decide.mutants import mutant


@dataclass(frozen=True)
class Answers:
    """What both say: an empty text when the model compiles, else the message."""

    check: str
    compile: str

    @property
    def agree(self) -> bool:
        """Whether both compile or both refuse; `check` does not see samples that are refused."""
        return self.samples or bool(self.check) == bool(self.compile)

    @property
    def samples(self) -> bool:
        """Whether `compile` says that the random samples cannot calibrate the model."""
        return self.compile.startswith(f"{CALIBRATION}: makes")


@cache
def machine(arch: str) -> Machine:
    """A built-in machine."""
    return machine_of(load_architecture(arch))


def answers(
    path: Path,
    dims: Mapping[str, int] | None = None,
    arch: str = "edge8",
    host: HostMode = "auto",
) -> Answers:
    """What `check` and `compile` say of a file; a float one is calibrated on random samples."""
    try:
        verdict = api.check(path, dims, arch=arch, host=host)
        said = "" if verdict.compiles else str(verdict.error())
    except DataflowError as error:
        said = str(error)
    return Answers(said, _compiled(path, dims or {}, arch, host))


def _compiled(path: Path, dims: Mapping[str, int], arch: str, host: HostMode) -> str:
    with tempfile.TemporaryDirectory() as folder:
        try:
            samples = Path(folder) / "samples.npz"
            calibrate = samples if _calibrated(path, dims, samples) else None
            flow.run(
                path,
                machine(arch),
                calibrate=calibrate,
                dims=dims,
                host=host,
                keep_float="none",
            )
        except DataflowError as error:
            return str(error)
    return ""


def _calibrated(path: Path, dims: Mapping[str, int], out: Path) -> bool:
    """Writes samples of a float model's inputs; False for a quantised one."""
    proto = load_proto(path)
    if not is_float(proto):
        return False
    weights = {t.name for t in proto.graph.initializer}
    draw = np.random.default_rng(0)
    arrays = {}
    for port in proto.graph.input:
        if port.name in weights:
            continue
        kind = port.type.tensor_type
        dtype = onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type)
        shape = [dims.get(d.dim_param, d.dim_value or 1) for d in kind.shape.dim]
        if shape:
            shape[0] *= 3
        values = draw.standard_normal(shape) if np.dtype(dtype).kind == "f" else np.ones(shape)
        arrays[port.name] = values.astype(dtype)
    save_npz(out, arrays)
    return True


def campaign(first: int, count: int) -> dict[int, Answers]:
    """The mutants on which the two differ, or end in anything but a message."""
    differ: dict[int, Answers] = {}
    compiled = samples = 0
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "m.onnx"
        for seed in range(first, first + count):
            path.write_bytes(mutant(seed).SerializeToString())
            try:
                found = answers(path)
            except Exception as error:  # an internal error of either is a disagreement
                found = Answers("", f"internal error: {type(error).__name__}: {error}")
            compiled += not found.check
            samples += found.samples
            if not found.agree:
                differ[seed] = found
                print(f"{seed}: check {found.check!r}, compile {found.compile!r}", flush=True)
    print(
        f"{count} mutants, {compiled} compile, {len(differ)} disagreements; {samples} cannot be "
        "calibrated by the random samples",
        flush=True,
    )
    return differ


if __name__ == "__main__":
    numbers = [int(a) for a in sys.argv[1:]]
    sys.exit(bool(campaign(numbers[1] if len(numbers) > 1 else 0, numbers[0])))
