"""onnxruntime's static quantiser, called with the settings of this package."""

from __future__ import annotations

import io
import logging
import os
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import onnx

from dataflow.errors import DataflowError
from dataflow.frontend.onnx.order import sort_nodes
from dataflow.onnx_session import open_session

Array = np.ndarray
Feed = Mapping[str, Array]
Form = Literal["qoperator", "qdq"]
Range = tuple[float, float]


@dataclass(frozen=True)
class Settings:
    """What is quantised, and on which ranges.

    Attributes:
        operators: ONNX operator types that are quantised.
        widened: whether activation ranges leave room for further samples
            (:meth:`quantize_ranges.Observed.widened`); else they are the extremes that were seen.
        left_float: names of nodes that stay float although their type is quantised.
    """

    operators: tuple[str, ...]
    widened: bool = False
    left_float: frozenset[str] = frozenset()


def run_tool(
    proto: onnx.ModelProto,
    samples: Sequence[Feed],
    settings: Settings,
    format: Form,
    ranges: Mapping[str, Range] | None = None,
) -> onnx.ModelProto:
    """The int8 model: activations asymmetric per tensor, weights per output channel.

    Args:
        proto: float model.
        samples: feeds; their extremes are the ranges where ``ranges`` does not name a tensor.
        settings: what is quantised; its ``widened`` is not read here.
        format: form of the result.
        ranges: lowest and highest value of activations by tensor name.

    Raises:
        Exception: whatever the tool raises on a model that it cannot treat.
    """
    from onnxruntime import quantization as ort

    class Reader(ort.CalibrationDataReader):  # type: ignore[misc, unused-ignore]
        """Feeds the samples in order."""

        def __init__(self) -> None:
            # The tool runs the model even when every range is given: once is enough then.
            self.left: Iterator[Feed] = iter(samples if ranges is None else samples[:1])

        def get_next(self) -> Any:
            return next(self.left, None)

    overrides: dict[str, list[dict[str, Any]]] = {
        name: [{"rmin": np.float32(low), "rmax": np.float32(high)}]
        for name, (low, high) in (ranges or {}).items()
    }
    if format == "qdq":
        overrides |= by_column(proto)
    kinds = {"qoperator": ort.QuantFormat.QOperator, "qdq": ort.QuantFormat.QDQ}
    with tempfile.TemporaryDirectory() as folder, quiet():
        source = os.path.join(folder, "float.onnx")
        target = os.path.join(folder, "int8.onnx")
        proto.ir_version = min(proto.ir_version, 10)
        onnx.save(proto, source)
        ort.quantize_static(
            source,
            target,
            Reader(),
            quant_format=kinds[format],
            op_types_to_quantize=list(settings.operators),
            nodes_to_exclude=sorted(settings.left_float),
            per_channel=True,
            activation_type=ort.QuantType.QInt8,
            weight_type=ort.QuantType.QInt8,
            calibrate_method=ort.CalibrationMethod.MinMax,
            extra_options={"TensorQuantOverrides": overrides} if overrides else {},
        )
        made = onnx.load(target)
        sort_nodes(made.graph)
        return made


def by_column(proto: onnx.ModelProto) -> dict[str, list[dict[str, Any]]]:
    """The tool's overrides that give batched weights of a MatMul a scale for each column.

    It takes axis 1 for the columns, which is that of the rows there: nothing could sum their codes.
    """
    ranks = {t.name: len(t.dims) for t in proto.graph.initializer}
    weights = [n.input[1] for n in proto.graph.node if n.op_type == "MatMul"]
    return {name: [{"axis": ranks[name] - 1}] for name in weights if ranks.get(name, 0) > 2}


@contextmanager
def quiet() -> Iterator[None]:
    """Silences the tool, which prints advice."""
    logger = logging.getLogger()
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
                yield
    finally:
        logger.setLevel(level)


class Runner:
    """A model in onnxruntime: one thread and no graph optimisation, so that sums have one order."""

    def __init__(self, proto: onnx.ModelProto) -> None:
        """Raises DataflowError when onnxruntime does not take the model."""
        try:
            self._session = open_session(proto.SerializeToString())
        except Exception as error:  # onnxruntime has no base class of its own
            raise _refused(error) from error
        self.names = tuple(o.name for o in self._session.get_outputs())

    def __call__(self, feed: Feed) -> dict[str, Array]:
        """Outputs by name."""
        try:
            values = self._session.run(None, dict(feed))
        except Exception as error:
            raise _refused(error) from error
        return dict(zip(self.names, values, strict=True))


def _refused(error: Exception) -> DataflowError:
    return DataflowError("model", f"is refused by onnxruntime: {first_line(error)}", "check it")


def first_line(error: Exception) -> str:
    """Type and first line of an error of a library."""
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0] if text else ''}"
