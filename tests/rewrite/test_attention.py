"""Attention against torch in float64: the cascades of the examples, and torch's own exports."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from dataflow.api import export, load
from dataflow.ir import text
from dataflow.rewrite import defer_division, one_pass, split_rank, with_float64
from tests.rewrite.corpus import run

CASCADES = Path(__file__).parents[2] / "examples" / "cascades"
FIVE = ["three_pass", "three_pass_defer", "two_pass_localmax", "two_pass_online", "one_pass"]
MORE = ["naive", "naive_defer", "two_pass_localmax_defer"]

Array = np.ndarray


def small(name: str) -> str:
    """The source of an example cascade with small ranks."""
    source = (CASCADES / f"{name}.yaml").read_text()
    for old, new in (("E: 64, F: 64", "E: 16, F: 5"), ("M: 1024", "M: 24"), ("P: 1024", "P: 6")):
        source = source.replace(old, new)
    return source.replace("M1: 8, M0: 128", "M1: 6, M0: 4")


def operands(shift: float) -> dict[str, Array]:
    """Q, K, V of which Q*K is moved by ``shift``."""
    rng = np.random.default_rng(0)
    q, k, v = (rng.standard_normal(s) for s in ((16, 6), (16, 24), (5, 24)))
    q[0], k[0] = 1.0, shift
    return {"Q": q, "K": k, "V": v}


def attention(inputs: dict[str, Array]) -> Array:
    """torch's attention of Q[e, p], K[e, m], V[f, m] as AV[f, p]."""
    q, k, v = (torch.from_numpy(inputs[n].T.copy()) for n in "QKV")
    return functional.scaled_dot_product_attention(q, k, v, scale=1.0).numpy().T


@pytest.mark.parametrize("shift", [0.0, 1000.0])
@pytest.mark.parametrize("name", FIVE + MORE)
def test_example_cascades_equal_torch(name: str, shift: float) -> None:
    inputs = operands(shift)
    found = run(with_float64(text.loads(small(name))), inputs)["AV"]
    if shift and name.startswith("naive"):
        assert np.isnan(found).all()
        return
    np.testing.assert_allclose(found, attention(inputs), rtol=0, atol=1e-12)


@pytest.mark.parametrize("shift", [0.0, 1000.0])
@pytest.mark.parametrize("rewrite", [defer_division, one_pass, split_rank])
def test_rewrites_of_three_pass_equal_torch(rewrite: Callable[..., Any], shift: float) -> None:
    result = rewrite(with_float64(text.loads(small("three_pass"))))
    found = run(getattr(result, "cascade", result), operands(shift))["AV"]
    np.testing.assert_allclose(found, attention(operands(shift)), rtol=0, atol=1e-12)


class Function(nn.Module):
    """A function of tensors as a module."""

    def __init__(self, function: Callable[..., torch.Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *args: torch.Tensor) -> torch.Tensor:
        return self.function(*args)


def tensors(queries: int, keys: int, heads: int = 2) -> tuple[torch.Tensor, ...]:
    """q, k, v with 4 query heads; depth 16, so that every scale is a power of two."""
    make = torch.Generator().manual_seed(1)
    shapes = (2, 4, queries, 16), (2, heads, keys, 16), (2, heads, keys, 16)
    return tuple(torch.randn(s, generator=make) for s in shapes)


def mask(queries: int, keys: int) -> torch.Tensor:
    """A random mask that leaves something in each row."""
    made = torch.rand(queries, keys, generator=torch.Generator().manual_seed(2)) > 0.4
    made[:, 3] = True
    return made


SDPA = functional.scaled_dot_product_attention
TRIANGLE = torch.tril(torch.ones(12, 12)).bool()


def scores(q: torch.Tensor, k: torch.Tensor) -> torch.Tensor:
    return q @ k.transpose(-2, -1) * 0.25


def by_hand(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    logits = scores(q, k)
    powers = torch.exp(logits - logits.amax(-1, keepdim=True))
    return (powers / powers.sum(-1, keepdim=True)) @ v


MODELS: dict[str, tuple[Callable[..., torch.Tensor], tuple[torch.Tensor, ...]]] = {
    "plain": (lambda q, k, v: SDPA(q, k, v), tensors(6, 12, 4)),
    "scaled": (lambda q, k, v: SDPA(q, k, v, scale=0.0625), tensors(6, 12, 4)),
    "masked": (
        lambda q, k, v, m: SDPA(q, k, v, attn_mask=m),
        (*tensors(6, 12, 4), mask(6, 12)),
    ),
    "added mask": (
        lambda q, k, v, m: SDPA(q, k, v, attn_mask=m),
        (*tensors(6, 12, 4), torch.linspace(-3, 3, 72).reshape(6, 12)),
    ),
    "causal": (lambda q, k, v: SDPA(q, k, v, is_causal=True), tensors(12, 12, 4)),
    "grouped": (lambda q, k, v: SDPA(q, k, v, enable_gqa=True), tensors(6, 12)),
    "grouped, causal": (
        lambda q, k, v: SDPA(q, k, v, is_causal=True, enable_gqa=True),
        tensors(12, 12),
    ),
    "grouped by repeating": (
        lambda q, k, v: SDPA(q, k.repeat_interleave(2, 1), v.repeat_interleave(2, 1)),
        tensors(6, 12),
    ),
    "a prime number of keys": (
        lambda q, k, v, m: SDPA(q, k, v, attn_mask=m),
        (*tensors(6, 13, 4), mask(6, 13)),
    ),
    "one query": (lambda q, k, v: SDPA(q, k, v), tensors(1, 12, 4)),
    "hand-written": (lambda q, k, v: torch.softmax(scores(q, k), -1) @ v, tensors(6, 12, 4)),
    "hand-written, masked": (
        lambda q, k, v, m: torch.softmax(scores(q, k).masked_fill(~m, -torch.inf), -1) @ v,
        (*tensors(6, 12, 4), mask(6, 12)),
    ),
    "hand-written, causal": (
        lambda q, k, v: (
            torch.softmax(torch.where(TRIANGLE, scores(q, k), torch.finfo(torch.float32).min), -1)
            @ v
        ),
        tensors(12, 12, 4),
    ),
    "hand-written, softcap": (
        lambda q, k, v: torch.softmax(4 * torch.tanh(scores(q, k) / 4), -1) @ v,
        tensors(6, 12, 4),
    ),
    "hand-written softmax": (by_hand, tensors(6, 12, 4)),
    "hand-written, einsum": (
        lambda q, k, v: torch.einsum("bhpm,bhmd->bhpd", torch.softmax(scores(q, k), -1), v),
        tensors(6, 12, 4),
    ),
}

FAST = [(name, 20) for name in ("plain", "grouped, causal", "hand-written, masked")]


def check(name: str, opset: int, folder: Path) -> None:
    """Found, one pass, and equal to the imported network and to torch in float64."""
    function, inputs = MODELS[name]
    module = Function(function)
    export(f"{__file__}:{FACTORIES[name]}", folder / "a.onnx", opset)
    cascade = with_float64(load(folder / "a.onnx"))
    names = [cascade.tensors[n].label for n in cascade.graph_inputs or cascade.inputs]
    wide = [x.double() if x.dtype.is_floating_point else x for x in inputs]
    given = {n: x.numpy() for n, x in zip(names, wide, strict=True)}
    (expected,) = run(cascade, given).values()
    for rewrite, tile in product((one_pass, split_rank), (4, 5)):
        report = rewrite(cascade, tile)
        assert [(g.before, g.after, g.corrected) for g in report.groups] == [(3, 1, True)]
        (found,) = run(report.cascade, given).values()
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)
        np.testing.assert_allclose(found, module(*wide).numpy(), rtol=0, atol=1e-12)
        printed = text.dumps(report.cascade)
        again = text.loads(printed, data=dict(report.cascade.constants))
        assert text.dumps(again) == printed


FACTORIES = {name: f"make_{k}" for k, name in enumerate(MODELS)}


def _factory(name: str) -> Callable[[], tuple[nn.Module, tuple[torch.Tensor, ...]]]:
    return lambda: (Function(MODELS[name][0]), MODELS[name][1])


globals().update({factory: _factory(name) for name, factory in FACTORIES.items()})


@pytest.mark.parametrize(("name", "opset"), FAST)
def test_torch_exports(name: str, opset: int, tmp_path: Path) -> None:
    check(name, opset, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("opset", [18, 20, 23])
@pytest.mark.parametrize("name", MODELS)
def test_all_torch_exports(name: str, opset: int, tmp_path: Path) -> None:
    check(name, opset, tmp_path)
