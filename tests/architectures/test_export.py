"""Every example network leaves torch as ONNX that onnxruntime computes alike."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest

from dataflow import cli
from dataflow.errors import DataflowError
from dataflow.frontend import export
from examples.catalogue import NETWORKS, OPSETS
from tests.architectures import support


@pytest.mark.parametrize(("name", "opset"), support.cases(OPSETS))
def test_onnxruntime_agrees_with_torch(name: str, opset: int) -> None:
    path = support.exported(name, opset)
    model = onnx.load(path, load_external_data=False)
    assert [o.version for o in model.opset_import if o.domain == ""] == [opset]
    inputs = NETWORKS[name].samples(1, 3)
    got = list(support.onnx_outputs(path, inputs).values())
    expected = support.torch_outputs(name, inputs)
    assert len(got) == len(expected)
    for a, b in zip(got, expected, strict=True):
        assert support.relative_error(a, b) <= 1e-5


def test_attention_is_one_node_from_opset_23_on() -> None:
    kinds = [
        {n.op_type for n in onnx.load(support.exported("llama_block", opset)).graph.node}
        for opset in (20, 23)
    ]
    whole = {"Attention", "RMSNormalization"}
    assert not whole & kinds[0] and whole <= kinds[1]


def test_the_opset_is_an_option_of_the_command(tmp_path: Path) -> None:
    out = tmp_path / "m.onnx"
    assert cli.run(["export", NETWORKS["einsum3"].spec, "--opset", "18", "-o", str(out)]) == 0
    assert onnx.load(out).opset_import[0].version == 18


@pytest.mark.parametrize("opset", [17, 26])
def test_other_opsets_are_refused(tmp_path: Path, opset: int) -> None:
    with pytest.raises(DataflowError) as caught:
        export(NETWORKS["einsum3"].spec, tmp_path / "m.onnx", opset)
    assert str(caught.value) == f"--opset {opset}: is not known; use 18 to 25"
    assert not (tmp_path / "m.onnx").exists()
