"""Small ONNX models for tests, and onnxruntime as the judge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

from dataflow.onnx_session import open_session

Array = np.ndarray
MS = "com.microsoft"


def tensor_type(dtype: Any) -> int:
    """The ONNX element type of a NumPy type."""
    return int(helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))


def model(
    nodes: Sequence[onnx.NodeProto],
    inputs: Mapping[str, tuple[Sequence[int | str], Any]],
    outputs: dict[str, Any],
    constants: Mapping[str, Array],
    opset: int = 20,
) -> onnx.ModelProto:
    """A model; ``inputs`` maps names to (shape, type), ``outputs`` names to types."""
    graph = helper.make_graph(
        list(nodes),
        "test",
        [helper.make_tensor_value_info(n, tensor_type(t), s) for n, (s, t) in inputs.items()],
        [helper.make_tensor_value_info(n, tensor_type(t), None) for n, t in outputs.items()],
        [numpy_helper.from_array(np.asarray(v), n) for n, v in constants.items()],
    )
    imports = [helper.make_opsetid("", opset), helper.make_opsetid(MS, 1)]
    made = helper.make_model(graph, opset_imports=imports)
    made.ir_version = 10
    return made


def node(op: str, inputs: Sequence[str], outputs: Sequence[str], **attributes: Any) -> Any:
    """A node; QGemm, QLinearAdd, ... get Microsoft's domain."""
    theirs = op == "QGemm" or (
        op.startswith("QLinear") and op not in ("QLinearConv", "QLinearMatMul")
    )
    domain = MS if theirs else ""
    return helper.make_node(op, list(inputs), list(outputs), domain=domain, **attributes)


def session(proto: onnx.ModelProto, *, optimise: bool = False) -> ort.InferenceSession:
    """onnxruntime on one thread, without graph optimisation unless asked for."""
    return open_session(proto.SerializeToString(), optimise=optimise, log_level=3)


def run(proto: onnx.ModelProto, inputs: dict[str, Array]) -> dict[str, Array]:
    """Outputs by name, from onnxruntime without graph optimisation."""
    made = session(proto)
    names = [o.name for o in made.get_outputs()]
    return dict(zip(names, made.run(None, inputs), strict=True))


def with_all_values(proto: onnx.ModelProto) -> onnx.ModelProto:
    """A copy in which every intermediate value is an output as well."""
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    known = {o.name for o in copy.graph.output}
    for item in proto.graph.node:
        for name in item.output:
            if name and name not in known:
                copy.graph.output.append(helper.make_empty_tensor_value_info(name))
    return copy


FLOAT = TensorProto.FLOAT
