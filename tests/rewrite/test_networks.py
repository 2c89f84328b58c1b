"""Rewrites on whole imported networks: what they compute stays, in float64."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from dataflow.api import export, load
from dataflow.ir import Cascade, text
from dataflow.rewrite import REWRITES, one_pass, split_rank, with_float64
from examples import vit
from examples.catalogue import NETWORKS
from tests.rewrite.corpus import run

SMALL = sorted(name for name, network in NETWORKS.items() if not network.large)

GROUPS = {"bert_layer": 3, "gpt2": 7, "llama": 7, "vit": 7, "swin": 6, "t5": 10, "whisper": 7}
"""Groups that must be found: attentions and norms, with the projections that read them."""


def imported(name: str, folder: Path, opset: int = 20) -> tuple[Cascade, dict[str, np.ndarray]]:
    """An example network in float64, and inputs for it."""
    network = NETWORKS[name]
    export(network.spec, folder / "m.onnx", opset)
    cascade = with_float64(load(folder / "m.onnx"))
    feeds = network.samples(1, 0)
    wide = {n: v.astype(np.float64) if v.dtype.kind == "f" else v for n, v in feeds.items()}
    return cascade, wide


def check(cascade: Cascade, inputs: dict[str, np.ndarray]) -> None:
    """Every rewrite keeps the outputs, relative to the largest one."""
    expected = run(cascade, inputs)
    for rewrite in REWRITES.values():
        if rewrite.name == "float64":
            continue
        after = rewrite.apply(cascade)
        found = run(after, inputs)
        for name, value in expected.items():
            if rewrite.exact:
                np.testing.assert_array_equal(found[name], value)
            scale = max(1.0, float(np.max(np.abs(value))))
            np.testing.assert_allclose(found[name] / scale, value / scale, rtol=0, atol=1e-12)


def test_a_transformer_block(tmp_path: Path) -> None:
    cascade, inputs = imported("bert_layer", tmp_path)
    report = one_pass(cascade)
    assert [(g.before, g.after, g.corrected) for g in report.groups] == [
        (3, 1, True),  # attention
        (3, 1, False),  # the first norm and the projection that reads it
        (2, 1, False),  # the second norm, whose result is an output
    ]
    check(cascade, inputs)


def make_tokens() -> tuple[nn.Module, tuple[torch.Tensor, ...]]:
    """A layer of a vision transformer for 14x14 patches and a class token."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return vit.Layer(16, 2).eval(), (torch.randn(1, 197, 16),)


def test_a_vision_transformer_of_197_tokens(tmp_path: Path) -> None:
    """A prime number of keys: two tiles, the second with a masked tail."""
    export(f"{__file__}:make_tokens", tmp_path / "m.onnx", 20)
    cascade = with_float64(load(tmp_path / "m.onnx"))
    module, (x,) = make_tokens()
    given = {cascade.inputs[0]: x.double().numpy()}
    (expected,) = run(cascade, given).values()
    with torch.no_grad():
        theirs = module.double()(x.double()).numpy()
    for rewrite, tile, tiles in (
        (one_pass, None, (99, 2, 98)),
        (one_pass, 128, (128, 2, 69)),
        (split_rank, None, (22, 9, 21)),
    ):
        report = rewrite(cascade, tile)
        assert [(g.before, g.after, g.corrected) for g in report.groups] == [
            (3, 1, False),
            (3, 1, True),
            (3, 1, False),
        ]
        attention = report.groups[1]
        assert (attention.tile, attention.tiles, attention.last) == tiles
        (found,) = run(report.cascade, given).values()
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)
        # erf of GELU and the float32 constants of the export are theirs.
        np.testing.assert_allclose(found, theirs, rtol=0, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALL)
def test_all_example_networks(name: str, tmp_path: Path) -> None:
    cascade, inputs = imported(name, tmp_path)
    report = one_pass(cascade)
    assert len(report.groups) == GROUPS.get(name, len(report.groups))
    assert all(g.before > 1 and g.after == 1 for g in report.groups)
    for rewritten in (report.cascade, split_rank(cascade).cascade):
        printed = text.dumps(rewritten)
        again = text.loads(printed, data=dict(rewritten.constants))
        assert text.dumps(again) == printed
    check(cascade, inputs)
