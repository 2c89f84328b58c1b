"""CPU seconds of ``evaluate`` on real networks: ``python -m tests.bench.evaluate_networks``.

The bounds are those that the project aims at; the error is against onnxruntime.
"""

from __future__ import annotations

import resource
import sys
import time
from tempfile import TemporaryDirectory

from dataflow import frontend
from dataflow.evaluate import evaluate
from examples.catalogue import NETWORKS
from tests.architectures import support

BOUND_SECONDS = {"resnet18": 5.0, "bert_base": 10.0}


def main() -> int:
    """Prints a line for each network; returns 1 when one is above its bound."""
    late = False
    for name, bound in BOUND_SECONDS.items():
        with TemporaryDirectory() as folder:
            path = frontend.export(NETWORKS[name].spec, f"{folder}/{name}.onnx")
            started = time.process_time()
            cascade = frontend.load_model(path)
            loading = time.process_time() - started
            inputs = NETWORKS[name].samples(1, 3)
            seconds = []
            for _ in range(2):
                started = time.process_time()
                got = evaluate(cascade, inputs)
                seconds.append(time.process_time() - started)
            expected = support.onnx_outputs(path, inputs)
        error = max(support.relative_error(got[label], v) for label, v in expected.items())
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        times = ", then ".join(f"{s:.2f}" for s in seconds)
        print(
            f"{name:10} evaluate {times} CPU s (bound {bound:g}), import {loading:.2f} CPU s, "
            f"error {error:.1e}, peak {peak:.1f} GB"
        )
        late |= seconds[0] > bound
    return int(late)


if __name__ == "__main__":
    sys.exit(main())
