"""Table of the example networks: ``python -m tests.architectures.run [NAMES] [--opset N]``.

For each: error of the float evaluation against onnxruntime, or what is not supported; with
``--quantize`` the signal-to-noise ratio of both int8 forms against torch, and how far
``evaluate`` is from onnxruntime on them.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from pathlib import Path

import numpy as np
import onnx

from dataflow import frontend
from dataflow.errors import DataflowError
from dataflow.evaluate import evaluate
from examples.catalogue import NETWORKS
from tests.architectures import support
from tests.architectures.test_quantize import FORMS, by_onnxruntime, judge


def unsupported(path: Path) -> str:
    """Operators that have no lowering, with their reasons, or an empty text."""
    reasons = Counter(f"{r.operator}: {r.reason}" for r in frontend.check(path) if r.reason)
    return "; ".join(f"{count} x {text}" for text, count in sorted(reasons.items()))


def compared(path: Path, name: str) -> str:
    """Largest relative error against onnxruntime, and CPU seconds of the evaluation."""
    missing = unsupported(path)
    if missing:
        return missing
    cascade = frontend.load_model(path)
    inputs = NETWORKS[name].samples(1, 3)
    started = time.process_time()
    got = evaluate(cascade, inputs)
    seconds = time.process_time() - started
    expected = support.onnx_outputs(path, inputs)
    errors = [support.relative_error(got[label], value) for label, value in expected.items()]
    noise = support.snr_db([list(expected.values())], [[got[label] for label in expected]])
    text = f"error {max(errors):.1e} in {seconds:.2f} s"
    return text if np.isinf(noise) else f"{text} ({noise:.0f} dB)"


def row(name: str, opset: int, quantize: bool) -> str:
    """The text for one network."""
    path = support.exported(name, opset)
    text = f"{name:20} {opset} {compared(path, name)}"
    for form in FORMS if quantize else ():
        made = support.quantised(name, opset, form)
        model = onnx.load(made.path)
        theirs = judge(name, by_onnxruntime(name, opset, form, made))
        text += f"\n    {form:9} {judge(name, model):5.1f} dB (onnxruntime's own {theirs:5.1f})"
        text += f", {made.describe()}; {compared(made.path, name)}"
    return text


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("names", nargs="*", default=support.SMALL)
    parser.add_argument("--opset", type=int, default=20)
    parser.add_argument("--quantize", action="store_true")
    arguments = parser.parse_args()
    for name in arguments.names:
        try:
            print(row(name, arguments.opset, arguments.quantize), flush=True)
        except DataflowError as error:
            print(f"{name:20} {arguments.opset} {error}", flush=True)
        except Exception as error:  # the table goes on past what is broken
            first = (str(error).splitlines() or [""])[0]
            print(f"{name:20} {arguments.opset} {type(error).__name__}: {first}", flush=True)


if __name__ == "__main__":
    main()
