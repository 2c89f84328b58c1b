"""Networks whose tensors compete with stream buffers: ``python -m tests.bench.crowded``.

Two to four convolutions on large maps; what lies between them takes about the activation memory of
edge16, a little less or a little more, so that keeping it leaves hardly room for the buffers that
everything else streams through (`mapper/resident_edge16` is one such). The table has cycles, bound
and gap of each, layer by layer and in bands; it grows with each compilation. `--gaps` leaves out
the first of the two, `--first` and `--count` take a part. Exit status 1 when a gap exceeds 1 %, or
when bands are slower.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from dataflow import flow
from dataflow.arch import load_architecture
from dataflow.machine import Machine, machine_of

MOST = 0.01
"""Gap that is asked."""


class Chain:
    """Convolutions of codes, one behind the other."""

    def __init__(self, name: str, shape: tuple[int, int, int], seed: int) -> None:
        self.name, self.rng = name, np.random.default_rng(seed)
        self.shape = shape  # channels, rows, columns
        self.last = "x"
        self.source = shape
        self.nodes: list[onnx.NodeProto] = []
        self.data: list[onnx.TensorProto] = []

    def _constant(self, name: str, value: Any) -> str:
        self.data.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def conv(self, channels: int, kernel: int, stride: int = 1, groups: int = 1) -> str:
        """A convolution with padding; the name of its result."""
        name = f"y{len(self.nodes)}"
        c, height, width = self.shape
        weights = self.rng.integers(-30, 30, (channels, c // groups, kernel, kernel))
        scale = np.full(channels, 2.0 ** -np.ceil(np.log2(kernel * kernel * c / groups)))
        inputs = [
            self.last,
            self._constant(f"{name}_xs", np.float32(1)),
            self._constant(f"{name}_xz", np.int8(3)),
            self._constant(f"{name}_w", weights.astype(np.int8)),
            self._constant(f"{name}_ws", (scale / 16).astype(np.float32)),
            self._constant(f"{name}_wz", np.zeros(channels, np.int8)),
            self._constant(f"{name}_ys", np.float32(1)),
            self._constant(f"{name}_yz", np.int8(3)),
            self._constant(f"{name}_b", self.rng.integers(-999, 999, channels).astype(np.int32)),
        ]
        self.nodes.append(
            helper.make_node(
                "QLinearConv",
                inputs,
                [name],
                name,
                kernel_shape=[kernel] * 2,
                pads=[kernel // 2] * 4,
                strides=[stride] * 2,
                group=groups,
            )
        )
        reach = 2 * (kernel // 2) - kernel
        self.shape = channels, (height + reach) // stride + 1, (width + reach) // stride + 1
        self.last = name
        return name

    def add(self, other: str) -> str:
        """The sum with an earlier result of the same shape."""
        name = f"y{len(self.nodes)}"
        one = self._constant(f"{name}_s", np.float32(1))
        two = self._constant(f"{name}_s2", np.float32(2))
        zero = self._constant(f"{name}_z", np.int8(3))
        inputs = [self.last, one, zero, other, one, zero, two, zero]
        self.nodes.append(
            helper.make_node("QLinearAdd", inputs, [name], name, domain="com.microsoft")
        )
        self.last = name
        return name

    def model(self) -> onnx.ModelProto:
        """The network."""
        kind = TensorProto.INT8
        graph = helper.make_graph(
            self.nodes,
            self.name,
            [helper.make_tensor_value_info("x", kind, [1, *self.source])],
            [helper.make_tensor_value_info(self.last, kind, [1, *self.shape])],
            self.data,
        )
        opsets = [helper.make_opsetid("", 13), helper.make_opsetid("com.microsoft", 1)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def crowded(seed: int, machine: Machine) -> onnx.ModelProto:
    """A network of which one tensor or more takes 0.9 to 1.2 of the activation memory."""
    rng = np.random.default_rng(seed)
    channels = int(rng.choice([16, 32, 48, 64]))
    columns = int(rng.integers(4, 17)) * 8
    size = machine.act_bytes * rng.uniform(0.9, 1.2)
    rows = max(8, round(size / (columns * channels)))
    first = int(rng.choice([16, 32]))
    net = Chain(f"crowded{seed}", (first, rows, columns), seed)
    net.conv(channels, int(rng.choice([1, 3, 3])))
    for _ in range(int(rng.integers(1, 4))):
        net.conv(int(rng.choice([16, 32, channels])), int(rng.choice([1, 1, 3])))
    return net.model()


def main(arguments: list[str] | None = None) -> int:
    """Makes the table; 1 when a gap is too large."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--gaps", action="store_true", help="not layer by layer: half the time")
    parser.add_argument("--model", type=Path, action="append", default=[], help="beside them")
    asked = parser.parse_args(arguments)
    machine = machine_of(load_architecture("edge16"))
    wide = worse = 0
    print(
        "| network | layers | layer by layer | layers | in bands | bound | gap | CPU s |",
        flush=True,
    )
    with tempfile.TemporaryDirectory() as folder:
        paths = list(asked.model)
        for seed in range(asked.first, asked.first + asked.count):
            paths.append(Path(folder, f"crowded{seed}.onnx"))
            onnx.save(crowded(seed, machine), paths[-1])
        for path in paths:
            print(f"| {path.stem} ", end="", flush=True)
            before = None
            if asked.gaps:
                print("| | ", end="", flush=True)
            else:
                whole = flow.run(path, machine, bands="none")
                before = whole.prediction.cycles
                print(f"| {len(whole.graph.layers)} | {before:,} ", end="", flush=True)
            started = time.process_time()
            best = flow.run(path, machine, bands="auto")
            seconds = time.process_time() - started
            after = best.prediction.cycles
            gap = after / best.mapping.bound - 1
            wide += gap > MOST
            worse += before is not None and after > before
            print(
                f"| {len(best.graph.layers)} | {after:,} | {best.mapping.bound:,} | {gap:.2%} "
                f"| {seconds:.0f} |",
                flush=True,
            )
    print(f"{wide} gaps above {MOST:.0%}; {worse} slower in bands")
    return int(wide + worse > 0)


if __name__ == "__main__":
    sys.exit(main())
