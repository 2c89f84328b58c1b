"""The catalogue on the machine: quantised with the defaults, compiled, simulated in RTL and in C.

And onnxruntime's own default quantisations of the same networks: compiled.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnx
import pytest
from _pytest.mark import ParameterSet

from dataflow import api, flow, quantise
from dataflow.arch import load_architecture
from dataflow.errors import DataflowError
from dataflow.machine import machine_of
from dataflow.quantise.tool import quiet
from examples.catalogue import NETWORKS
from tests.architectures import support
from tests.cosim.brought import judge, run

RUNS = (
    *("mlp", "lenet5", "resnet8", "dscnn", "autoencoder", "mobilenet_v1", "mobilenet_v2"),
    *("mobilenet_v3", "efficientnet", "squeezenet", "densenet", "shufflenet", "unet_transposed"),
    *("unet_resize", "super_resolution", "detector", "conv3d", "keyword_conv1d", "tcn", "wavenet"),
    *("pointnet", "dlrm", "dlrm_bag", "rnn", "resnet18"),
)
"""What runs on the machine: convolutions, perceptrons, embeddings in front of them."""

TRANSFORMERS = (
    *("vit", "bert_layer", "bert_sdpa", "bert_tiny", "gpt2_block", "gpt2", "llama_block", "llama"),
    *("swin", "mixer", "t5", "whisper", "conformer", "diffusion", "retnet"),
    *("convnext_block", "convnext", "group_norm", "instance_norm"),
)
"""The same of attention and normalisations."""

REWRITTEN = ("spectral", "einsum3")
"""What runs because `quantize` makes products of its Einsum nodes first."""

SAMPLE = ("pointnet",)
"""What the default tests run; `tests/cosim/test_examples.py` has four more."""

DEFAULTS_SAMPLE = ("lenet5",)

QOPERATOR_REFUSED = {"unet_transposed": "ConvTranspose"}
"""Operators that onnxruntime leaves in float inside the network, in its QOperator form."""

OPSET = 20


def cases(sample: tuple[str, ...]) -> list[ParameterSet]:
    return [pytest.param(name, marks=[] if name in sample else [pytest.mark.slow]) for name in RUNS]


@pytest.mark.rtl
@pytest.mark.parametrize(
    "name",
    [
        *cases(SAMPLE),
        *(pytest.param(n, marks=pytest.mark.slow) for n in (*TRANSFORMERS, *REWRITTEN)),
    ],
)
def test_quantised_with_the_defaults_it_runs_as_predicted(name: str, tmp_path: Path) -> None:
    model = tmp_path / f"{name}.int8.onnx"
    made = quantise.quantize_report(
        support.exported(name, OPSET),
        NETWORKS[name].samples(*support.CALIBRATION),
        model,
        judge=flow.judge_for(machine_of(load_architecture("edge16"))),
    )
    assert made.refusal == ""
    judge(run(model, tmp_path / name, csim=True))


def default_form(name: str, form: str, folder: Path) -> Path:
    """The network as onnxruntime's static quantiser makes it when told nothing but the form."""
    from onnxruntime import quantization as ort

    class Reader(ort.CalibrationDataReader):  # type: ignore[misc, unused-ignore]
        """Eight samples."""

        def __init__(self) -> None:
            self.left: Iterator[Any] = iter(NETWORKS[name].feeds(8, 0))

        def get_next(self) -> Any:
            return next(self.left, None)

    proto = onnx.load(support.exported(name, OPSET))
    proto.ir_version = min(proto.ir_version, 10)
    source, target = folder / f"{name}.onnx", folder / f"{name}.{form}.onnx"
    onnx.save(proto, source)
    with quiet():
        ort.quantize_static(source, target, Reader(), quant_format=ort.QuantFormat[form])
    return target


@pytest.mark.parametrize("form", ["QOperator", "QDQ"])
@pytest.mark.parametrize("name", cases(DEFAULTS_SAMPLE))
def test_onnxruntimes_own_quantisation_compiles(name: str, form: str, tmp_path: Path) -> None:
    verdict = api.check(default_form(name, form, tmp_path))
    refused = QOPERATOR_REFUSED.get(name) if form == "QOperator" else None
    if refused is None:
        assert verdict.compiles, verdict.error()
        return
    assert {r.operator for r in verdict.refusals} == {refused}
    with pytest.raises(DataflowError, match=r"weights .* are float32.*quantise"):
        raise verdict.error()
