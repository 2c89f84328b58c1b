"""Ranges of activations: what the calibration samples show, and what further samples may reach.

The extremes of few samples are too narrow: the next sample is clipped, which costs more than a
coarser step (measured: up to 20 dB on small classifiers calibrated with 8 samples).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

from dataflow.quantise.hidden import softmax_axes, trimmed
from dataflow.quantise.tool import Array, Feed, Range, Runner

INF = math.inf
PRIOR_SAMPLES, PRIOR_SPREAD = 2, 0.1
"""Two imagined samples whose extremes deviate by a tenth steady the estimate from few samples."""

SCALE, EULER = math.sqrt(6) / math.pi, 0.5772156649
"""Of a Gumbel distribution: scale per standard deviation, and scales from location to mean."""

STEPS = 255
"""Steps of an int8 range."""

LARGEST = float(np.finfo(np.float32).max)
"""Masks are made of it."""

_SELECTS = frozenset(
    {
        "MaxPool",
        "AveragePool",
        "GlobalAveragePool",
        "GlobalMaxPool",
        "Reshape",
        "Flatten",
        "Squeeze",
        "Unsqueeze",
        "Transpose",
        "Concat",
        "Slice",
        "Split",
        "Gather",
        "GatherND",
        "Identity",
        "Expand",
        "DepthToSpace",
        "SpaceToDepth",
        "ReduceMean",
        "ReduceMax",
        "ReduceMin",
    }
)
_BOUNDED = {
    "Sigmoid": (0.0, 1.0),
    "HardSigmoid": (0.0, 1.0),
    "Softmax": (0.0, 1.0),
    "Tanh": (-1.0, 1.0),
    "Sin": (-1.0, 1.0),
    "Cos": (-1.0, 1.0),
    "Erf": (-1.0, 1.0),
}


def observe(proto: onnx.ModelProto, samples: Sequence[Feed]) -> Observed:
    """Runs the float model on the samples, and keeps extremes and outputs of each.

    Numbers that a softmax does not see are no extremes of what it reads (`hidden.trimmed`).
    """
    from onnx import shape_inference

    inferred = shape_inference.infer_shapes(proto)
    known = [*inferred.graph.value_info, *inferred.graph.output]
    floats = {v.name for v in known if v.type.tensor_type.elem_type == TensorProto.FLOAT}
    outputs = tuple(o.name for o in proto.graph.output)
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    for node in proto.graph.node:
        for name in node.output:
            if name in floats and name not in outputs:
                copy.graph.output.append(
                    onnx.helper.make_tensor_value_info(name, TensorProto.FLOAT, None)
                )
    runner = Runner(copy)
    extremes: dict[str, list[Range]] = {}
    sizes: dict[str, int] = {}
    results: list[dict[str, Array]] = []
    axes, cut = softmax_axes(proto), set[str]()
    for feed in samples:
        values = runner(feed)
        results.append({name: values[name] for name in outputs})
        lowest = trimmed(values, axes)
        cut |= set(lowest)
        for name, value in {**feed, **values}.items():
            if isinstance(value, np.ndarray) and value.dtype == np.float32 and value.size:
                low = lowest.get(name, float(value.min()))
                extremes.setdefault(name, []).append((low, float(value.max())))
                sizes[name] = value.size
    made = [*(i.name for i in proto.graph.input), *(o for n in proto.graph.node for o in n.output)]
    ordered = {name: extremes[name] for name in dict.fromkeys(made) if name in extremes}
    return Observed(ordered, sizes, results, frozenset(cut))


class Observed:
    """What the float model showed: extremes of each float tensor and outputs, by sample."""

    def __init__(
        self,
        extremes: Mapping[str, Sequence[Range]],
        sizes: Mapping[str, int],
        outputs: Sequence[Mapping[str, Array]],
        trimmed: frozenset[str] = frozenset(),
    ) -> None:
        """``sizes`` are the numbers of elements of each tensor of a sample; ``trimmed`` are the
        tensors that hold lower numbers than their extremes say."""
        self.extremes = {name: np.array(pairs) for name, pairs in extremes.items()}
        self.sizes = sizes
        self.outputs = outputs
        self.trimmed = trimmed

    @property
    def endless(self) -> tuple[str, ...]:
        """Tensors that some sample makes infinite or not a number, in the order of the graph."""
        return tuple(n for n, pairs in self.extremes.items() if not np.isfinite(pairs).all())

    def seen(self, chosen: Sequence[int]) -> dict[str, Range]:
        """Lowest and highest value of each tensor over the chosen samples."""
        return {
            name: (float(pairs[chosen, 0].min()), float(pairs[chosen, 1].max()))
            for name, pairs in self.extremes.items()
            if np.isfinite(pairs).all()
        }

    def widened(self, chosen: Sequence[int], bounds: Mapping[str, Range]) -> dict[str, Range]:
        """Ranges of least expected noise over further samples, at least those seen.

        Widening a range coarsens all elements, clipping hits few: a tensor of many elements keeps
        the extremes seen, a narrow one gets room. With R the range, N the elements of a sample, and
        the largest of them Gumbel distributed (location m, scale b; Gumbel, Statistics of Extremes,
        1958), the noise of a sample for an upper end h is about

            N R^2 / (12 * 255^2) + 2 b^2 exp(-(h - m) / b),

        which is least at h = m + b ln(12 * 255^2 b / (N R)); the lower end likewise. ``bounds`` are
        what a tensor cannot pass (:func:`bounds`).
        """
        made = {}
        for name, (low, high) in self.seen(chosen).items():
            least, most = bounds.get(name, (-INF, INF))
            pairs = self.extremes[name][chosen]
            coarsening = self.sizes[name] * (max(high, 0.0) - min(low, 0.0))
            made[name] = (
                -_end(-pairs[:, 0], -low, -least, coarsening),
                _end(pairs[:, 1], high, most, coarsening),
            )
        return made


def _end(maxima: Array, top: float, limit: float, coarsening: float) -> float:
    """Upper end of a range; ``coarsening`` is N R."""
    prior = PRIOR_SAMPLES * (PRIOR_SPREAD * abs(top)) ** 2
    variance = (float(((maxima - maxima.mean()) ** 2).sum()) + prior) / (
        len(maxima) - 1 + PRIOR_SAMPLES
    )
    scale = SCALE * math.sqrt(variance)
    if scale <= 0 or coarsening <= 0:
        return top
    location = float(maxima.mean()) - EULER * scale
    best = location + scale * math.log(12 * STEPS**2 * scale / coarsening)
    return min(max(best, top), max(limit, top), LARGEST)


def bounds(proto: onnx.ModelProto) -> dict[str, Range]:
    """What values cannot pass, by the operators that make them (Relu, Clip, Sigmoid, ...)."""
    constants = {t.name: t for t in proto.graph.initializer}
    found: dict[str, Range] = {}

    def of(name: str) -> Range:
        if name in constants and constants[name].data_type == TensorProto.FLOAT:
            data = numpy_helper.to_array(constants[name])
            return (float(data.min()), float(data.max())) if data.size else (-INF, INF)
        return found.get(name, (-INF, INF))

    def scalar(node: onnx.NodeProto, place: int, default: float) -> float:
        if len(node.input) > place and node.input[place] in constants:
            return float(numpy_helper.to_array(constants[node.input[place]]).reshape(-1)[0])
        return default

    for node in proto.graph.node:
        limit = (-INF, INF)
        if node.op_type == "Relu":
            low, high = of(node.input[0])
            limit = (max(low, 0.0), max(high, 0.0))
        elif node.op_type == "Clip":
            low, high = of(node.input[0])
            limit = (max(low, scalar(node, 1, -INF)), min(high, scalar(node, 2, INF)))
        elif node.op_type in _BOUNDED:
            limit = _BOUNDED[node.op_type]
        elif node.op_type in _SELECTS:
            sources = node.input if node.op_type == "Concat" else node.input[:1]
            pairs = [of(name) for name in sources]
            limit = (min(p[0] for p in pairs), max(p[1] for p in pairs))
        for name in node.output:
            found[name] = limit
    return found


def shared_with_activation(
    proto: onnx.ModelProto, operators: Sequence[str], ranges: Mapping[str, Range]
) -> dict[str, Range]:
    """``ranges`` with each input of a quantised Relu or Clip given the range of its output.

    The quantiser drops such an operator: clipping to the output's range is its whole meaning.
    """
    uses: dict[str, int] = {}
    for node in proto.graph.node:
        for name in node.input:
            uses[name] = uses.get(name, 0) + 1
    made = dict(ranges)
    for node in proto.graph.node:
        if node.op_type in ("Relu", "Clip") and node.op_type in operators:
            source, result = node.input[0], node.output[0]
            if uses[source] == 1 and source in made and result in made:
                made[source] = made[result]
    return made
