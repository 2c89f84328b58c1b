"""Tables of 8-bit functions: exact by construction, equal to onnxruntime at every code."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from dataflow.evaluate import run_machine_part
from dataflow.frontend import load_model
from dataflow.ir.cascade import Cascade
from dataflow.ir.expr import Access, Call
from dataflow.onnx_session import open_session
from dataflow.rewrite import tabulate
from dataflow.rewrite.dead import remove_dead
from tests.rewrite.code_models import (
    CODES,
    FUNCTIONS,
    Array,
    batch_norm,
    between,
    one,
    quantised_silu,
    silu,
)


def onnxruntime_codes(model: onnx.ModelProto) -> Array:
    """What onnxruntime gives, without optimisation, at all codes."""
    session = open_session(model.SerializeToString())
    return np.asarray(session.run(None, {"x": CODES})[0])


def output(cascade: Cascade) -> Array:
    """The only output of a cascade whose only input is `CODES`."""
    values = run_machine_part(cascade, {cascade.inputs[0]: CODES})
    return values[cascade.outputs[0]]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_between_codes_is_one_table_of_what_onnxruntime_computes(name: str) -> None:
    imported = load_model(FUNCTIONS[name])
    table = tabulate(imported)
    (einsum,) = table.einsums
    expr = einsum.expr
    assert isinstance(expr, Call)
    assert expr.op == "lookup"
    assert isinstance(expr.args[0], Access)
    assert expr.args[0].tensor in table.inputs
    expected = output(imported)
    assert np.array_equal(output(table), expected)
    assert np.array_equal(expected, onnxruntime_codes(FUNCTIONS[name]))
    assert len(np.unique(expected)) > 8  # the scales leave something to compare


def test_what_differs_from_channel_to_channel_stays() -> None:
    imported = load_model(batch_norm(0.05))
    assert tabulate(imported) is imported


def test_a_function_that_changes_no_code_is_a_copy() -> None:
    same = between([helper.make_node("Relu", ["d"], ["f"])], {})
    # The same scale on both sides, and a zero point below which there is no code.
    for name, data in (("z", np.int8(-128)), ("zy", np.int8(-128)), ("sy", np.float32(0.047))):
        (held,) = [t for t in same.graph.initializer if t.name == name]
        held.CopyFrom(numpy_helper.from_array(np.array(data), name))
    cascade = tabulate(load_model(same))
    assert all(isinstance(e.expr, Access) for e in cascade.einsums)


def test_codes_that_somebody_else_reads_are_not_looked_through() -> None:
    model = quantised_silu()
    model.graph.output.append(helper.make_tensor_value_info("h", TensorProto.INT8, CODES.shape))
    cascade = tabulate(load_model(model))
    labels = {cascade.tensors[e.output.tensor].label for e in cascade.einsums}
    assert labels >= {"h", "y"}
    values = run_machine_part(cascade, {cascade.inputs[0]: CODES})
    before = load_model(model)
    plain = run_machine_part(before, {before.inputs[0]: CODES})
    for name in before.outputs:
        assert np.array_equal(values[name], plain[name])


def test_a_table_is_stored_once() -> None:
    model = silu()
    again = [
        helper.make_node("Sigmoid", ["d"], ["g2"]),
        helper.make_node("Mul", ["g2", "d"], ["f2"]),
        helper.make_node("QuantizeLinear", ["f2", "sy", "zy"], ["y2"]),
    ]
    model.graph.node.extend(again)
    model.graph.output.append(helper.make_tensor_value_info("y2", TensorProto.INT8, CODES.shape))
    cascade = tabulate(load_model(model))
    assert len(cascade.einsums) == 2
    assert sum(t.shape == (256,) for t in cascade.tensors.values()) == 1


def test_reads_beyond_a_tensor_are_left_alone() -> None:
    imported = remove_dead(load_model(one("Elu")))
    # Shifted by one element: the first is skipped, which a table would not do.
    (first, *rest) = imported.einsums
    shifted = [
        replace(e, expr=_shifted(e.expr)) if "x" in {a.tensor for a in e.inputs} else e
        for e in (first, *rest)
    ]
    broken = replace(imported, einsums=tuple(shifted))
    assert tabulate(broken) is broken


def _shifted(expr: object) -> Call | Access:
    if isinstance(expr, Call):
        args = tuple(_shifted(a) if isinstance(a, Call | Access) else a for a in expr.args)
        return Call(expr.op, args)
    assert isinstance(expr, Access)
    if not expr.indices:
        return expr
    return replace(expr, indices=(expr.indices[0] + -1, *expr.indices[1:]))
