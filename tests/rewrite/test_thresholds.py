"""Signs and counts of thresholds: exact, at the accumulators around each threshold too."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest

from dataflow.evaluate import run_machine_part
from dataflow.frontend import load_model
from dataflow.ir.cascade import Cascade
from dataflow.ir.expr import Call, walk
from dataflow.rewrite.cone import is_codes
from dataflow.rewrite.fold_constants import fold_parameters
from dataflow.rewrite.threshold_counts import threshold_counts
from dataflow.rewrite.thresholds import integer_signs
from tests.cosim.operator_models import QONNX, binary, thresholds
from tests.frontend.qdq_net import S8, QdqNet

Array = np.ndarray


def outputs(cascade: Cascade, seed: int = 5) -> Array:
    """The only output of the machine part on seeded codes."""
    rng = np.random.default_rng(seed)
    given = {
        n: rng.integers(-128, 128, cascade.tensors[n].shape).astype(np.int8) for n in cascade.inputs
    }
    return run_machine_part(cascade, given)[cascade.outputs[0]]


def operations(cascade: Cascade) -> set[str]:
    """Operators of all expressions."""
    return {e.op for one in cascade.einsums for e in walk(one.expr) if isinstance(e, Call)}


def test_signs_of_normalised_accumulators_keep_every_code() -> None:
    imported = fold_parameters(load_model(binary()))
    made = integer_signs(imported)
    assert "where" in operations(imported)
    assert "where" not in operations(made)
    assert np.array_equal(outputs(imported), outputs(made))
    assert len(np.unique(outputs(made))) > 20


@pytest.mark.parametrize("scale", [1.0, 0.37])
def test_a_sign_changes_at_the_accumulator_where_it_is_written(scale: float) -> None:
    """Every accumulator from -127 to 127, thresholds on integers among them."""
    net = QdqNet(1)
    x = net.dequantised(net.input((255, 1), S8), 1.0)
    weights = net.constant(np.ones((1, 40), np.int8))
    y = net.op("MatMul", x, net.dequantised(weights, scale))
    limits = np.arange(-20, 20).astype(np.float32) * np.float32(scale)
    y = net.op("Sub", y, net.constant(limits))
    signs = net.op("BipolarQuant", y, net.constant(np.float32(1)), domain=QONNX)
    imported = load_model(net.finish(net.op("Identity", signs)))
    made = integer_signs(imported)
    (codes,) = imported.outputs
    given = dict.fromkeys(imported.inputs, np.arange(-127, 128).astype(np.int8)[:, None])
    before = run_machine_part(imported, given)[codes]
    assert np.array_equal(before, run_machine_part(made, given)[codes])
    assert set(np.unique(before)) == {-1, 1}


COUNTS: dict[str, Callable[[], onnx.ModelProto]] = {
    "accumulators": lambda: thresholds(6, codes=False),
    "blocks of channels": lambda: thresholds(20, codes=False),
    "codes": lambda: thresholds(6, codes=True),
}


@pytest.mark.parametrize("name", COUNTS)
def test_counts_of_thresholds_keep_every_code(name: str) -> None:
    imported = load_model(COUNTS[name]())
    made = threshold_counts(imported)
    assert "less_equal" in operations(imported)
    assert "less_equal" not in operations(made)
    assert ("lookup" in operations(made)) == (name == "codes")
    assert np.array_equal(outputs(imported), outputs(made))
    assert len(np.unique(outputs(made))) > 20


def test_numbers_of_the_codes_are_the_written_ones() -> None:
    """A scale that is no power of two, for which offset and product round: numbers stay floats."""
    net = QdqNet(5)
    x = net.dequantised(net.input((1, 3, 6, 7), S8), 0.03, -5)
    limits = net.constant(np.linspace(-3, 3, 15, dtype=np.float32)[None])
    y = net.op(
        "MultiThreshold", x, limits, domain=QONNX, out_scale=0.1, out_bias=-0.73, out_dtype="INT4"
    )
    cascade = load_model(net.finish(net.through(y, 0.05)))
    counts = [e for e in cascade.einsums if e.operator == "MultiThreshold"]
    assert not any(is_codes(cascade.tensors[e.output.tensor]) for e in counts)
