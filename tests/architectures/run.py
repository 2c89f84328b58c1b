"""Table of the example networks: ``python -m tests.architectures.run [NAMES] [--opset N]``.

For each: multiply-accumulates, and the error of the float evaluation against onnxruntime, or what
is not supported. With ``--quantize``, for both int8 forms: the signal-to-noise ratio against
torch beside that of onnxruntime's own quantiser, and ``evaluate`` against onnxruntime.
``--markdown`` prints the table of ``docs/accuracy.md``.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx

from dataflow import frontend, quantise
from dataflow.errors import DataflowError
from dataflow.evaluate import evaluate
from dataflow.ir import total_macs
from examples.catalogue import NETWORKS
from tests.architectures import support
from tests.architectures.test_quantize import FORMS, by_onnxruntime, judge


@dataclass(frozen=True)
class Compared:
    """``evaluate`` against onnxruntime on one input: ``reason`` when it cannot be evaluated."""

    macs: int = 0
    error: float = 0.0
    snr_db: float = float("inf")
    reason: str = ""

    def __str__(self) -> str:
        if self.reason:
            return self.reason
        return "equal" if self.error == 0 else f"{self.error:.1e}"

    @property
    def ratio(self) -> str:
        """The deviation as a ratio in dB, for quantised networks."""
        return f"{self.snr_db:.0f} dB" if not self.reason and self.error else str(self)


def compared(path: Path, name: str) -> Compared:
    """Evaluates a model once."""
    try:
        cascade = frontend.load_model(path)
        inputs = NETWORKS[name].samples(1, 3)
        got = evaluate(cascade, inputs)
    except frontend.UnsupportedModelError as error:
        reasons = Counter(f"{r.node.op}: {r.reason}" for r in error.refusals)
        return Compared(reason="; ".join(f"{n} x {text}" for text, n in reasons.items()))
    except Exception as error:  # the table goes on past what is broken
        first = (str(error).splitlines() or [""])[0]
        return Compared(reason=f"{type(error).__name__}: {first}")
    expected = support.onnx_outputs(path, inputs)
    errors = [support.relative_error(got[label], value) for label, value in expected.items()]
    ratio = support.snr_db([list(expected.values())], [[got[label] for label in expected]])
    return Compared(total_macs(cascade), max(errors), ratio)


def settings(made: quantise.Quantized) -> str:
    """What the quantiser chose, briefly."""
    parts = ["products" if len(made.operators) == 3 else "all"]
    if made.widened:
        parts.append("widened")
    if made.left_float:
        parts.append(f"{len(made.left_float)} left in float")
    return ", ".join(parts)


def decibels(value: float) -> str:
    """One decimal; ``-`` when nothing was quantised, so that only float rounding is left."""
    return f"{value:.1f}" if np.isfinite(value) and value < 100 else "-"


def columns(name: str, opset: int, quantize: bool) -> Iterator[str]:
    """The fields of a network's row."""
    path = support.exported(name, opset)
    plain = compared(path, name)
    yield f"{plain.macs:,}"
    yield str(plain)
    for form in FORMS if quantize else ():
        try:
            made = support.quantised(name, opset, form)
        except DataflowError as error:
            yield from (str(error), "", "", "")
            continue
        yield decibels(judge(name, onnx.load(made.path)))
        yield decibels(judge(name, by_onnxruntime(name, opset, form, made)))
        yield settings(made)
        yield compared(made.path, name).ratio


def titles(quantize: bool) -> list[str]:
    """Names of the columns."""
    made = ["network", "MACs", "float error"]
    for form in ("QOperator", "QDQ") if quantize else ():
        made += [f"{form} dB", "tool's dB", "quantised", "evaluate"]
    return made


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("names", nargs="*", default=support.SMALL)
    parser.add_argument("--opset", type=int, default=20)
    parser.add_argument("--quantize", action="store_true")
    parser.add_argument("--markdown", action="store_true")
    arguments = parser.parse_args()
    heads = titles(arguments.quantize)
    if arguments.markdown:
        print(f"| {' | '.join(heads)} |\n|{'---|' * len(heads)}", flush=True)
    for name in arguments.names:
        fields = [name, *columns(name, arguments.opset, arguments.quantize)]
        if arguments.markdown:
            print(f"| {' | '.join(fields)} |", flush=True)
        else:
            pairs = zip(heads[1:], fields[1:], strict=True)
            print(f"{name:20} {'  '.join(f'{t}: {f}' for t, f in pairs)}", flush=True)


if __name__ == "__main__":
    main()
