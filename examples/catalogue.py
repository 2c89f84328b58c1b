"""All example networks: name, factory, opsets, and random inputs for each."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import nn

OPSETS = (18, 20, 23)
"""Opsets that every network exports at: the oldest, the exporter's default, whole Attention."""


@dataclass(frozen=True)
class Network:
    """An example network.

    Attributes:
        file: module beside this file, without ``.py``.
        factory: its function that returns ``(module, example_inputs)``.
        below: exclusive upper bound of the integers of each integer input, by input name.
        opsets: opsets that it is exported at.
        large: of real size: seconds to evaluate, not milliseconds.
    """

    file: str
    factory: str = "make"
    below: Mapping[str, int] = field(default_factory=dict)
    opsets: tuple[int, ...] = OPSETS
    large: bool = False

    @property
    def spec(self) -> str:
        """``FILE.py:FACTORY`` for ``dataflow export``."""
        return f"{Path(__file__).with_name(self.file)}.py:{self.factory}"

    def make(self) -> tuple[nn.Module, tuple[torch.Tensor, ...]]:
        """The seeded module in evaluation mode, and its example inputs."""
        module, inputs = getattr(importlib.import_module(f"examples.{self.file}"), self.factory)()
        return module, inputs

    def samples(self, n: int, seed: int) -> dict[str, np.ndarray]:
        """``n`` random inputs by ONNX name, joined along the first axis: standard normal floats,
        uniform integers below ``below``."""
        rng = np.random.default_rng(seed)
        drawn: dict[str, np.ndarray] = {}
        for name, (shape, is_float) in _signature(self.file, self.factory).items():
            whole = (n * shape[0], *shape[1:])
            if is_float:
                drawn[name] = rng.standard_normal(whole).astype(np.float32)
            else:
                drawn[name] = rng.integers(0, self.below[name], whole, np.int64)
        return drawn

    def feeds(self, n: int, seed: int) -> list[dict[str, np.ndarray]]:
        """:meth:`samples`, one by one."""
        joined = self.samples(n, seed)
        return [
            {name: array.reshape(n, -1, *array.shape[1:])[k] for name, array in joined.items()}
            for k in range(n)
        ]


@cache
def _signature(file: str, factory: str) -> dict[str, tuple[tuple[int, ...], bool]]:
    """Shape of each input by its ONNX name, and whether it is a float."""
    module, inputs = Network(file, factory).make()
    names = inspect.signature(module.forward).parameters
    return {
        name: (tuple(example.shape), example.dtype.is_floating_point)
        for name, example in zip(names, inputs, strict=False)
    }


NETWORKS: dict[str, Network] = {
    # convolutional
    "mlp": Network("mlp"),
    "lenet5": Network("lenet5"),
    "resnet8": Network("resnet8"),
    "dscnn": Network("dscnn"),
    "autoencoder": Network("autoencoder"),
    "mobilenet_v1": Network("mobilenet", "make_v1"),
    "mobilenet_v2": Network("mobilenet", "make_v2"),
    "mobilenet_v3": Network("mobilenet", "make_v3"),
    "efficientnet": Network("efficientnet"),
    "squeezenet": Network("squeezenet"),
    "densenet": Network("densenet"),
    "shufflenet": Network("shufflenet"),
    "convnext_block": Network("convnext", "make_block"),
    "convnext": Network("convnext"),
    "unet_transposed": Network("unet", "make_transposed"),
    "unet_resize": Network("unet", "make_resize"),
    "group_norm": Network("groupnorm", "make_group"),
    "instance_norm": Network("groupnorm", "make_instance"),
    "super_resolution": Network("super_resolution"),
    "detector": Network("detector"),
    "conv3d": Network("conv3d"),
    "keyword_conv1d": Network("keyword_conv1d"),
    "tcn": Network("tcn"),
    "wavenet": Network("wavenet"),
    # perceptrons over sets, graphs and tables
    "mixer": Network("mixer"),
    "pointnet": Network("pointnet"),
    "gnn_sage": Network("gnn", "make_sage", {"edges": 24}),
    "gnn_attention": Network("gnn", "make_attention", {"edges": 24}),
    "dlrm": Network("dlrm", below={"bags": 50}),
    "dlrm_bag": Network("dlrm", "make_bag", {"bags": 50}),
    "spectral": Network("spectral"),
    "einsum3": Network("einsum3"),
    # attention
    "vit": Network("vit"),
    "swin": Network("swin"),
    "bert_layer": Network("bert", "make_layer"),
    "bert_sdpa": Network("bert", "make_sdpa"),
    "bert_tiny": Network("bert", "make_tiny", {"ids": 100, "segments": 2, "mask": 2}),
    "gpt2_block": Network("gpt2", "make_block"),
    "gpt2": Network("gpt2", below={"ids": 128}),
    "llama_block": Network("llama", "make_block"),
    "llama": Network("llama", below={"ids": 128}),
    "t5": Network("t5", below={"source": 128, "target": 128}),
    "whisper": Network("whisper"),
    "conformer": Network("conformer"),
    "diffusion": Network("diffusion", below={"t": 1000}),
    "moe_dense": Network("moe", "make_dense"),
    "moe_gather": Network("moe", "make_gather"),
    # recurrences
    "linear_attention": Network("linear_attention"),
    "retnet": Network("retnet"),
    "mamba_scan": Network("mamba", "make_scan"),
    "mamba_unrolled": Network("mamba", "make_unrolled"),
    "rwkv": Network("rwkv"),
    "lstm": Network("recurrent", "make_lstm"),
    "gru": Network("recurrent", "make_gru"),
    "rnn": Network("recurrent", "make_rnn"),
    "bidirectional_lstm": Network("recurrent", "make_bidirectional"),
    # real size
    "resnet18": Network("resnet18", large=True),
    "vit_tiny": Network("vit", "make_tiny", large=True),
    "bert_mini": Network("bert", "make_mini", {"ids": 30522, "segments": 2, "mask": 2}, large=True),
    "bert_base": Network("bert", "make_base", {"ids": 30522, "segments": 2, "mask": 2}, large=True),
}
