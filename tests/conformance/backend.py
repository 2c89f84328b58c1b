"""The conformance backend: ONNX to Cascade to the reference evaluator."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper
from onnx.backend.base import Backend, BackendRep

from dataflow.errors import DataflowError
from dataflow.evaluate import evaluate
from dataflow.frontend import UnsupportedModelError, load_model

Array = np.ndarray

FEW = 16
"""Most elements of a float input that may be a parameter, such as scales or a clip bound."""


class Prepared(BackendRep):
    """A model; imported when its inputs are there, because some of them are parameters.

    The suite passes shapes, axes, pads and scales as graph inputs. Those that the import needs
    are bound: made constants of the model. `bound` names them after a run.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        self.model = model
        self.bound: tuple[str, ...] = ()

    def run(self, inputs: Any, **_: Any) -> tuple[Array, ...]:
        """The outputs in the order of the graph; raises what the most successful import raised."""
        names = [p.name for p in self.model.graph.input]
        constants = {t.name for t in self.model.graph.initializer}
        if len(inputs) < len(names):
            names = [n for n in names if n not in constants]
        feed = {n: np.asarray(v) for n, v in zip(names, inputs, strict=False) if v is not None}
        failure: DataflowError | None = None
        for bound in bindings(feed):
            try:
                cascade = load_model(with_constants(self.model, {n: feed[n] for n in bound}))
            except DataflowError as error:
                failure = min(error, failure or error, key=_severity)
                continue
            self.bound = bound
            free = {n: v for n, v in feed.items() if n not in bound}
            found = evaluate(cascade, free)
            return tuple(found[p.name] for p in self.model.graph.output)
        assert failure is not None
        raise failure


class CascadeBackend(Backend):
    """Runs models on the CPU through the importer and the evaluator."""

    @classmethod
    def prepare(cls, model: onnx.ModelProto, device: str = "CPU", **_: Any) -> Prepared:
        return Prepared(model)

    @classmethod
    def supports_device(cls, device: str) -> bool:
        return device == "CPU"


def _severity(error: DataflowError) -> int:
    """The number of refused nodes: after the binding that helped most, the fewest are left."""
    return len(error.refusals) if isinstance(error, UnsupportedModelError) else 1 << 30


def bindings(feed: Mapping[str, Array]) -> Iterator[tuple[str, ...]]:
    """What to bind, the least first; the first input counts as data while there is another way.

    Nothing; integers of rank 0 and 1 (shapes, axes, pads); few floats (scales, bounds); both; all
    but the data (weights); and everything, where every input looks like a parameter.
    """
    data = next(iter(feed), "")
    rest = [n for n in feed if n != data]
    shapes = [n for n in rest if feed[n].ndim <= 1 and feed[n].dtype.kind in "iub"]
    scales = [n for n in rest if n not in shapes and feed[n].size <= FEW]
    steps = [[], shapes, scales, shapes + scales, rest]
    if all(v.ndim <= 1 and v.size <= FEW for v in feed.values()):
        steps.append(list(feed))
    tried: set[tuple[str, ...]] = set()
    for names in steps:
        choice = tuple(sorted(names))
        if choice not in tried:
            tried.add(choice)
            yield choice


def with_constants(model: onnx.ModelProto, values: Mapping[str, Array]) -> onnx.ModelProto:
    """The model with some of its inputs turned into constants."""
    if not values:
        return model
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    ports = [p for p in copy.graph.input if p.name not in values]
    del copy.graph.input[:]
    copy.graph.input.extend(ports)
    kinds = {p.name: p.type.tensor_type.elem_type for p in model.graph.input}
    for name, value in values.items():
        tensor = numpy_helper.from_array(value, name)
        assert tensor.data_type == kinds[name]
        copy.graph.initializer.append(tensor)
    return copy
