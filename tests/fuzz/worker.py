"""Runs cases one after another: numbers on standard input, one JSON line each on output.

``python -m tests.fuzz.worker FOLDER SEED [MODELS...]``; started by ``tests.fuzz.run``.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Sequence
from pathlib import Path

for _library in ("OMP", "OPENBLAS", "MKL", "NUMBA"):
    os.environ.setdefault(f"{_library}_NUM_THREADS", "1")

import numpy as np  # noqa: E402

import dataflow  # noqa: E402
from dataflow.api import check  # noqa: E402
from dataflow.errors import DataflowError  # noqa: E402
from dataflow.evaluate import evaluate  # noqa: E402
from dataflow.frontend import load_model  # noqa: E402
from dataflow.ir.cascade import Cascade  # noqa: E402
from tests.fuzz import guard  # noqa: E402
from tests.fuzz.mutate import mutated  # noqa: E402
from tests.fuzz.seeds import models  # noqa: E402

SECRET = b"the content of a file outside the folder of the model, never to be read"
OURS = str(Path(dataflow.__file__).parent)
FEW_ELEMENTS = 200_000
"""Largest networks that are evaluated, in elements of all tensors."""


def run_case(path: Path, watch: guard.Watch) -> tuple[str, str]:
    """What became of a model (``refused``, ``imported``, ``evaluated``) and what is wrong."""
    stage = "import"
    try:
        watch.active = True
        cascade = load_model(path)
        watch.active = False
        stage = "check"
        if any(SECRET[:16] in data.tobytes() for data in cascade.constants.values()):
            return "imported", "import: a file outside the model's folder was read"
        check(path)  # quantises float models, in a temporary folder that must be gone afterwards
        stage = "evaluate"
        if sum(t.elements for t in cascade.tensors.values()) > FEW_ELEMENTS:
            return "imported", ""
        watch.active = True
        evaluate(cascade, _zeros(cascade))
    except DataflowError as error:
        if not (error.where and error.what and error.fix):
            return "refused", f"{stage}: an incomplete message: {str(error)[:200]!r}"
        str(error).encode()  # printable
        return ("refused" if stage == "import" else "imported"), ""
    except Exception as error:  # a finding: the class and the line that raised it
        return "raised", f"{stage}: {_place(error)}"
    finally:
        watch.active = False
    return "evaluated", ""


def _zeros(cascade: Cascade) -> dict[str, np.ndarray]:
    names = cascade.graph_inputs or cascade.inputs
    tensors = [cascade.tensors[n] for n in names]
    return {t.label or t.name: np.zeros(t.shape, t.dtype.numpy) for t in tensors}


def _place(error: Exception) -> str:
    """Class, message and innermost line of ours."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [f for f in frames if f.filename.startswith(OURS)] or frames
    last = ours[-1]
    name = f"{Path(last.filename).relative_to(OURS) if ours is not frames else last.filename}"
    text = " ".join(str(error).split())[:160]
    return f"{type(error).__name__} at {name}:{last.lineno} ({last.name}): {text}"


def main(arguments: Sequence[str]) -> None:
    folder, seed = Path(arguments[0]), int(arguments[1])
    seeds = models([Path(a) for a in arguments[2:]])
    inner = folder / "models"
    inner.mkdir(parents=True)
    (inner / "w.bin").write_bytes(bytes(range(256)) * 4)
    (folder / "secret.bin").write_bytes(SECRET * 8)
    before = sorted(p.name for p in inner.iterdir())
    scratch = folder / "scratch"
    scratch.mkdir()
    tempfile.tempdir = str(scratch)
    sys.dont_write_bytecode = True
    watch = guard.Watch(inner)
    warnings.simplefilter("ignore")
    np.seterr(all="ignore")
    path = inner / "model.onnx"
    print(json.dumps({"ready": len(seeds)}), flush=True)
    # What the first import and the first check load counts for no case.
    guard.limit_memory()
    for line in sys.stdin:
        case = int(line)
        path.write_bytes(mutated(seeds, seed, case))
        guard.limit_time()
        start = time.process_time()
        watch.seen.clear()
        outcome, finding = run_case(path, watch)
        path.unlink()
        left = sorted(p.name for p in inner.iterdir())
        if watch.seen and not finding:
            finding = f"touched: {watch.seen[0]}"
        if left != before and not finding:
            finding = f"touched: the model's folder holds {left}"
        if os.listdir(scratch) and not finding:
            finding = f"touched: left behind {os.listdir(scratch)}"
        spent = time.process_time() - start
        answer = {"case": case, "outcome": outcome, "finding": finding, "seconds": spent}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
