"""Exports a CNN and an MLP with Brevitas and torchao: ``python -m tests.golden.quantisers.export``.

In an environment of its own beside torch, with brevitas 0.13.4, torchao 0.18.0 and onnxoptimizer.
Each model stands beside an input and what the module made of it (``.npz``: ``x``, ``y``).
"""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from torch import nn

HERE = Path(__file__).parent
OPSET = 20
CNN, MLP = (1, 3, 12, 12), (4, 24)


class Net(nn.Module):
    """Layers one behind the other, a residual around those of ``skip``."""

    def __init__(self, first: nn.Module, skip: nn.Module, join: nn.Module, last: nn.Module) -> None:
        super().__init__()
        self.first, self.skip, self.join, self.last = first, skip, join, last

    def forward(self, x: Any) -> Any:
        """The whole."""
        x = self.first(x)
        return self.last(self.join(x + self.skip(x)))


def float_cnn() -> nn.Module:
    """Convolutions with batch normalisation, a residual, an average, logits."""
    first = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU())
    skip = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8))
    last = nn.Sequential(nn.MaxPool2d(2), nn.Flatten(), nn.Linear(288, 10))
    return Net(first, skip, nn.ReLU(), last)


def float_mlp() -> nn.Module:
    """Three layers with a Relu between them."""
    return nn.Sequential(
        nn.Linear(24, 32), nn.ReLU(), nn.Linear(32, 16), nn.ReLU(), nn.Linear(16, 6)
    )


def torchao(module: nn.Module, shape: tuple[int, ...]) -> tuple[Any, Any]:
    """Post-training quantisation by torchao's pt2e flow with per-channel int8 weights."""
    pt2e: Any = import_module("torchao.quantization.pt2e.quantize_pt2e")
    x86: Any = import_module("torchao.quantization.pt2e.quantizer.x86_inductor_quantizer")
    x = torch.randn(shape)
    quantizer = x86.X86InductorQuantizer()
    quantizer.set_global(x86.get_default_x86_inductor_quantization_config())
    prepared = pt2e.prepare_pt2e(torch.export.export(module.eval(), (x,)).module(), quantizer)
    for _ in range(4):
        prepared(torch.randn(shape))
    return pt2e.convert_pt2e(prepared), x


def brevitas_layers(kind: str) -> nn.Module:
    """The same networks of Brevitas' layers: int8 weights per channel, int32 biases."""
    qnn: Any = import_module("brevitas.nn")
    quant: Any = import_module("brevitas.quant")
    weights = {"weight_quant": quant.Int8WeightPerChannelFloat, "bias_quant": quant.Int32Bias}
    relu = {"act_quant": quant.Uint8ActPerTensorFloat, "return_quant_tensor": True}
    codes = {"act_quant": quant.Int8ActPerTensorFloat, "return_quant_tensor": True}
    if kind == "mlp":
        return nn.Sequential(
            qnn.QuantIdentity(**codes),
            qnn.QuantLinear(24, 32, bias=True, **weights),
            qnn.QuantReLU(**relu),
            qnn.QuantLinear(32, 16, bias=True, **weights),
            qnn.QuantReLU(**relu),
            qnn.QuantLinear(16, 6, bias=True, **weights),
        )
    shared = qnn.QuantIdentity(**codes)
    first = nn.Sequential(
        qnn.QuantIdentity(**codes),
        qnn.QuantConv2d(3, 8, 3, padding=1, **weights),
        nn.ReLU(),
        shared,
    )
    skip = nn.Sequential(qnn.QuantConv2d(8, 8, 3, padding=1, **weights), shared)
    last = nn.Sequential(
        nn.MaxPool2d(2),
        nn.Flatten(),
        qnn.QuantLinear(288, 10, bias=True, **weights),
    )
    return Net(first, skip, qnn.QuantReLU(**relu), last)


def calibrated(module: nn.Module, shape: tuple[int, ...]) -> nn.Module:
    """With the ranges of random samples."""
    calibration_mode: Any = import_module("brevitas.graph.calibrate").calibration_mode
    module.eval()
    with torch.no_grad(), calibration_mode(module):
        for _ in range(4):
            module(torch.randn(shape))
    return module


def plain(proto: onnx.ModelProto) -> onnx.ModelProto:
    """The model without the exporter's notes on where each node came from."""
    for item in (*proto.graph.node, *proto.graph.value_info, *proto.graph.input):
        del item.metadata_props[:]
        item.doc_string = ""
    return proto


def save(folder: Path, name: str, x: Any, y: Any) -> None:
    """The arrays beside a model."""
    arrays = {"x": x.detach().numpy(), "y": np.asarray(y.detach().numpy(), np.float32)}
    np.savez_compressed(folder / f"{name}.npz", **arrays)
    size = (folder / f"{name}.onnx").stat().st_size
    print(f"{name}: {size} bytes, {len(onnx.load(folder / f'{name}.onnx').graph.node)} nodes")


def main(folder: Path) -> None:
    """All four."""
    export_onnx_qcdq: Any = import_module("brevitas.export").export_onnx_qcdq
    for kind, shape in (("cnn", CNN), ("mlp", MLP)):
        torch.manual_seed(7)
        module = {"cnn": float_cnn, "mlp": float_mlp}[kind]()
        made, x = torchao(module, shape)
        path = folder / f"torchao_{kind}.onnx"
        program = torch.onnx.export(made, (x,), dynamo=True, opset_version=OPSET)
        assert program is not None
        onnx.save(plain(program.model_proto), path)
        save(folder, path.stem, x, made(x))
        torch.manual_seed(8)
        module = calibrated(brevitas_layers(kind), shape)
        x = torch.randn(shape)
        path = folder / f"brevitas_{kind}_qcdq.onnx"
        export_onnx_qcdq(module, args=x, export_path=str(path), opset_version=17, dynamo=False)
        y = module(x)
        save(folder, path.stem, x, getattr(y, "value", y))


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE)
