"""QONNX Trunc behind averages of codes, as Brevitas writes a truncating average pool."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from dataflow.evaluate import evaluate
from dataflow.frontend import load_model
from tests.cosim.brought import judge, run

DOMAIN = "qonnx.custom_op.general"
STEP = 0.125
"""Of the codes that are averaged."""


def network(kernel: int, shift: int, version: int, mode: str) -> onnx.ModelProto:
    """A convolution, codes of 4 bits, an average over kernel x kernel of them as a sum, a Trunc by
    ``shift`` bits and a product."""
    draw = np.random.default_rng(kernel)
    nodes: list[onnx.NodeProto] = []
    arrays: dict[str, np.ndarray] = {}

    def add(op: str, inputs: list[str], out: str, *, own: bool = False, **more: Any) -> str:
        domain = DOMAIN if own else ""
        nodes.append(helper.make_node(op, inputs, [out], name=out, domain=domain, **more))
        return out

    def constant(name: str, value: object) -> str:
        arrays[name] = np.asarray(value, np.float32)
        return name

    def quant(x: str, out: str, scale: float, bits: int, signed: int = 1) -> str:
        numbers = {"scale": scale, "zero": 0, "bits": bits}
        given = [constant(f"{out}_{name}", value) for name, value in numbers.items()]
        more = {"signed": signed, "narrow": 0, "rounding_mode": "ROUND"}
        return add("Quant", [x, *given], out, own=True, **more)

    x = quant("x", "x_codes", 1 / 64, 8)
    w = quant(constant("w", draw.normal(0, 0.3, (8, 3, 3, 3))), "w_codes", 1 / 32, 8)
    y = add("Conv", [x, w], "conv", pads=[1, 1, 1, 1])
    y = quant(add("Relu", [y], "relu"), "a", STEP, 4, signed=0)
    y = add("AveragePool", [y], "average", kernel_shape=[kernel] * 2, strides=[kernel] * 2)
    y = add("Mul", [y, constant("points", kernel * kernel)], "sum")
    given = {"scale": STEP, "zero": 0, "before": 10}
    given |= {"later": STEP * 2.0**shift} if version == 2 else {}
    given |= {"after": 10 - shift}
    names = [constant(f"trunc_{name}", value) for name, value in given.items()]
    signed = {"signed": 0} if version == 2 else {}
    y = add("Trunc", [y, *names], "trunc", own=True, rounding_mode=mode, **signed)
    y = add("Flatten", [y], "flat")
    size = 8 * (8 // kernel) ** 2
    w = quant(constant("v", draw.normal(0, 0.3, (5, size))), "v_codes", 1 / 32, 8)
    quant(add("Gemm", [y, w], "gemm", transB=1), "y", 0.25, 8)
    graph = helper.make_graph(
        nodes,
        "trunc",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1, 3, 8, 8])],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1, 5])],
        [numpy_helper.from_array(data, name) for name, data in arrays.items()],
    )
    opsets = [helper.make_opsetid("", 13), helper.make_opsetid(DOMAIN, version)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


@pytest.mark.rtl
@pytest.mark.parametrize(
    ("kernel", "shift", "version", "mode"),
    [
        (4, 4, 1, "FLOOR"),
        (8, 6, 2, "ROUND"),
        pytest.param(8, 6, 1, "FLOOR", marks=pytest.mark.slow),
        pytest.param(2, 2, 2, "FLOOR", marks=pytest.mark.slow),
        pytest.param(4, 3, 1, "CEIL", marks=pytest.mark.slow),
        pytest.param(4, 4, 1, "ROUND", marks=pytest.mark.slow),
    ],
)
def test_a_trunc_behind_an_average_runs(
    kernel: int, shift: int, version: int, mode: str, tmp_path: Path
) -> None:
    model = network(kernel, shift, version, mode)
    path = tmp_path / "trunc.onnx"
    onnx.save(model, path)
    draw = np.random.default_rng(7)
    x = draw.normal(0, 1, (1, 3, 8, 8)).astype(np.float32)
    judge(run(path, tmp_path / "out", arch="edge8", given={"x": x}, csim=True))


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("mode", ["FLOOR", "CEIL", "ROUND"])
def test_its_codes_are_those_of_whole_numbers(version: int, mode: str) -> None:
    """Sums of 16 codes, shifted; every code is compared by a product with the identity."""
    model = network(4, 4, version, mode)
    for tensor in model.graph.initializer:
        if tensor.name == "v":
            eye = np.zeros((5, 32), np.float32)
            eye[range(5), range(5)] = 1
            tensor.CopyFrom(numpy_helper.from_array(eye, "v"))
    del model.graph.node[-1]
    model.graph.output[0].name = "gemm"
    model.graph.output.append(helper.make_tensor_value_info("a", 1, [1, 8, 8, 8]))
    x = np.random.default_rng(3).normal(0, 1, (1, 3, 8, 8)).astype(np.float32)
    got = evaluate(load_model(model), {"x": x})
    codes = np.rint(got["a"] / STEP)
    assert codes.min() == 0 and codes.max() > 8
    sums = codes.reshape(8, 2, 4, 2, 4).sum(axis=(2, 4)).reshape(-1)[:5]
    rounded = {"FLOOR": np.floor, "CEIL": np.ceil, "ROUND": np.rint}[mode](sums / 16)
    step = STEP if version == 1 else STEP * 16
    np.testing.assert_array_equal(got["gemm"].reshape(-1), rounded * step)
