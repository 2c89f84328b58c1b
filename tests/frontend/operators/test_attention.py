"""Attention operators: grouped heads, masks, caches; the cascade is the three-pass one."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper

from dataflow.evaluate import evaluate
from dataflow.frontend import UnsupportedModelError, load_model
from dataflow.ir.cascade import Cascade
from tests.frontend import models
from tests.frontend.operators.cases import Array, compare, normal, single

MICROSOFT = "com.microsoft"
Draw = Any


def softmax(x: Array) -> Array:
    """Along the last axis; a row of -inf becomes zeros."""
    peak = x.max(-1, keepdims=True)
    power = np.exp(x - np.where(np.isneginf(peak), 0, peak))
    total = power.sum(-1, keepdims=True)
    return np.asarray(power / np.where(total == 0, 1, total))


def reference(q: Array, k: Array, v: Array, bias: Array | float, scale: float) -> Array:
    """Attention over [batch, head, position, channel] by its definition."""
    group = q.shape[1] // k.shape[1]
    k, v = k.repeat(group, 1), v.repeat(group, 1)
    return np.asarray(softmax(q @ k.swapaxes(-1, -2) * scale + bias) @ v)


def names(cascade: Cascade) -> list[str]:
    """The steps of an attention whose output is called y."""
    return [e.output.tensor.removeprefix("y_") for e in cascade.einsums]


def test_the_cascade_is_the_three_pass_one() -> None:
    inputs = {n: normal(0, 1, 2, 3, 4) for n in "qkv"}
    proto, _ = single("Attention", inputs, {"y": np.float32}, opset=23)
    assert names(load_model(proto)) == ["QS", "QK", "GM", "SN", "SD", "A", "y"]


def test_a_causal_mask_needs_no_guard_but_a_mask_that_may_hide_all_does() -> None:
    inputs = {n: normal(0, 1, 2, 3, 4) for n in "qkv"}
    proto, _ = single("Attention", inputs, {"y": np.float32}, opset=23, is_causal=1)
    assert names(load_model(proto)) == ["QS", "QK", "QM", "GM", "SN", "SD", "A", "y"]
    masked = {**inputs, "mask": np.ones((3, 3), bool)}
    proto, _ = single("Attention", masked, {"y": np.float32}, opset=23)
    assert names(load_model(proto))[-3:] == ["AV", "seen", "y"]
    proto, _ = single("Attention", masked, {"y": np.float32}, ["mask"], opset=23)
    assert names(load_model(proto))[-1:] == ["y"] and "y_seen" not in load_model(proto).tensors


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_attention_by_its_definition(d: st.DataObject) -> None:
    draw = d.draw
    batch, few, group = draw(st.integers(1, 2)), draw(st.integers(1, 2)), draw(st.integers(1, 3))
    queries, new, width, wide = (draw(st.integers(1, 4)) for _ in range(4))
    flat, causal = draw(st.booleans()), draw(st.booleans())
    before = 0 if flat else draw(st.integers(0, 3))
    keys = before + new
    many = few * group
    q = normal(0, batch, many, queries, width, dtype=np.float64)
    k = normal(1, batch, few, new, width, dtype=np.float64)
    v = normal(2, batch, few, new, wide, dtype=np.float64)
    past_k = normal(3, batch, few, before, width, dtype=np.float64) if before else None
    past_v = normal(4, batch, few, before, wide, dtype=np.float64) if before else None
    kind = draw(st.sampled_from(["none", "bool", "float"]))
    shape = draw(st.sampled_from([(queries, keys), (many, 1, keys), (batch, 1, queries, keys)]))
    mask: Array | None = None
    bias: Array = np.zeros((queries, keys))
    if kind != "none":
        seen = np.random.default_rng(5).random(shape) < 0.7
        mask = (
            seen if kind == "bool" else np.where(seen, normal(6, *shape, dtype=np.float64), -np.inf)
        )
        bias = np.where(seen, 0.0, -np.inf) if kind == "bool" else mask
    if causal:
        later = np.arange(keys)[None, :] > np.arange(queries)[:, None] + before
        bias = np.where(later, -np.inf, bias)
    all_k = k if past_k is None else np.concatenate([past_k, k], 2)
    all_v = v if past_v is None else np.concatenate([past_v, v], 2)
    expected = {"y": reference(q, all_k, all_v, bias, 0.25), "pk": all_k, "pv": all_v}
    attributes: dict[str, Any] = {"is_causal": int(causal), "scale": 0.25}
    if flat:
        q, k, v = (x.swapaxes(1, 2).reshape(batch, x.shape[2], -1) for x in (q, k, v))
        expected["y"] = expected["y"].swapaxes(1, 2).reshape(batch, queries, -1)
        attributes |= {"q_num_heads": many, "kv_num_heads": few}
    proto, feed = single(
        "Attention",
        {"q": q, "k": k, "v": v, "mask": mask, "past_k": past_k, "past_v": past_v},
        {"y": np.float64, "pk": np.float64, "pv": np.float64},
        draw(st.sampled_from([[], ["mask"]])) if mask is not None else [],
        opset=23,
        **attributes,
    )
    compare(proto, feed, 1e-12, expected)


@pytest.mark.parametrize("mode", [0, 1, 2, 3])
def test_scores_are_shown_at_each_stage(mode: int) -> None:
    q, k, v = (normal(n, 1, 2, 3, 4, dtype=np.float64) for n in range(3))
    seen = np.array([[1, 0, 1], [0, 0, 0], [1, 1, 1]], bool)
    proto, feed = single(
        "Attention",
        {"q": q, "k": k, "v": v, "mask": seen},
        {"y": np.float64, "": None, " ": None, "s": np.float64},
        opset=23,
        softcap=0.5,
        qk_matmul_output_mode=mode,
    )
    proto.graph.node[0].output[2] = ""
    raw = q @ k.swapaxes(-1, -2) / 2
    capped = 0.5 * np.tanh(raw / 0.5)
    hidden = np.where(seen, capped, -np.inf)
    shown = (raw, capped, hidden, softmax(hidden))[mode]
    del proto.graph.output[1:]
    proto.graph.output.append(
        helper.make_tensor_value_info("s", models.tensor_type(np.float64), None)
    )
    compare(proto, feed, 1e-12, {"y": softmax(hidden) @ v, "s": shown})


def test_windows_and_a_padded_cache() -> None:
    q = normal(0, 2, 1, 2, 4, dtype=np.float64)
    k, v = (normal(n, 2, 1, 6, 4, dtype=np.float64) for n in (1, 2))
    valid = np.array([3, 6])
    proto, feed = single(
        "Attention",
        {"q": q, "k": k, "v": v, "m": None, "pk": None, "pv": None, "valid": valid},
        {"y": np.float64},
        opset=25,
        is_causal=1,
        left_window_size=2,
    )
    bias = np.full((2, 1, 2, 6), -np.inf)
    for b, i in np.ndindex(2, 2):
        place = valid[b] - 2 + i
        bias[b, 0, i, max(0, place - 2) : place + 1] = 0
    compare(proto, feed, 1e-12, {"y": reference(q, k, v, bias, 0.5)})


def test_flex_attention_with_a_body_that_reads_an_outer_value() -> None:
    q = normal(0, 1, 4, 3, 4, dtype=np.float64)
    k, v = (normal(n, 1, 2, 5, 4, dtype=np.float64) for n in (1, 2))
    bias = normal(3, 3, 5, dtype=np.float64)
    value = helper.make_tensor_value_info
    double = models.tensor_type(np.float64)
    body = helper.make_graph(
        [helper.make_node("Add", ["scores", "bias"], ["moved"])],
        "score",
        [value("scores", double, None)],
        [value("moved", double, None)],
    )
    node = helper.make_node(
        "FlexAttention", ["q", "k", "v"], ["y"], domain="ai.onnx.preview", score_mod=body
    )
    feed = {"q": q, "k": k, "v": v, "bias": bias}
    ports = {n: (x.shape, x.dtype) for n, x in feed.items()}
    proto = models.model([node], ports, {"y": np.float64}, {}, 26)
    proto.opset_import.append(helper.make_opsetid("ai.onnx.preview", 1))
    compare(proto, feed, 1e-12, {"y": reference(q, k, v, bias, 0.5)})


@given(st.data())
@settings(max_examples=25, deadline=None)
def test_rotary_embedding(d: st.DataObject) -> None:
    draw = d.draw
    batch, count, length = (draw(st.integers(1, 3)) for _ in range(3))
    half, rest = draw(st.integers(1, 3)), draw(st.integers(0, 2))
    width = 2 * half + 2 * rest
    flat, interleaved = draw(st.booleans()), draw(st.integers(0, 1))
    shape = (batch, length, count * width) if flat else (batch, count, length, width)
    ids = np.random.default_rng(0).integers(0, 9, (batch, length)) if draw(st.booleans()) else None
    table = (9, half) if ids is not None else (batch, length, half)
    attributes: dict[str, Any] = {"interleaved": interleaved}
    if rest or draw(st.booleans()):
        attributes["rotary_embedding_dim"] = 2 * half
    if flat or draw(st.booleans()):
        attributes["num_heads"] = count
    proto, feed = single(
        "RotaryEmbedding",
        {"x": normal(0, *shape), "cos": normal(1, *table), "sin": normal(2, *table), "ids": ids},
        {"y": np.float32},
        opset=23,
        **attributes,
    )
    compare(proto, feed, 1e-6)


@pytest.mark.parametrize("rule", ["linear", "gated", "delta", "gated_delta"])
@pytest.mark.parametrize("past", [False, True])
def test_linear_attention_token_by_token(rule: str, past: bool) -> None:
    batch, length, many, few, dk, dv = 2, 3, 4, 2, 3, 2
    q, k = normal(0, batch, length, many * dk), normal(1, batch, length, few * dk)
    v = normal(2, batch, length, few * dv)
    s0 = normal(3, batch, few, dk, dv) if past else None
    decay = -abs(normal(4, batch, length, few * dk)) if "gated" in rule else None
    beta = abs(normal(5, batch, length, few)) if "delta" in rule else None
    state = np.zeros((batch, few, dk, dv)) if s0 is None else s0.astype(float)
    y = np.zeros((batch, length, many, dv))
    for t in range(length):
        if decay is not None:
            state = state * np.exp(decay[:, t].reshape(batch, few, dk, 1))
        key = k[:, t].reshape(batch, few, dk)
        update = v[:, t].reshape(batch, few, dv).astype(float)
        if beta is not None:
            update = beta[:, t, :, None] * (update - np.einsum("bhdm,bhd->bhm", state, key))
        state = state + key[..., None] * update[:, :, None]
        query = q[:, t].reshape(batch, many, dk)
        y[:, t] = 0.5 * np.einsum("bhd,bhdm->bhm", query, state.repeat(many // few, 1))
    proto, feed = single(
        "LinearAttention",
        {"q": q, "k": k, "v": v, "s": s0, "decay": decay, "beta": beta},
        {"y": np.float32, "state": np.float32},
        opset=27,
        q_num_heads=many,
        kv_num_heads=few,
        scale=0.5,
        update_rule=rule,
    )
    expected = {"y": y.reshape(batch, length, -1), "state": state}
    compare(proto, feed, 1e-6, {n: x.astype(np.float32) for n, x in expected.items()})


# com.microsoft


# onnxruntime wants a whole mask where there is a cache.
MASKS = [
    (mask, past)
    for mask in (None, "length", "ends", "key", "query")
    for past in (0, 3)
    if not past or mask not in ("length", "ends")
]


@pytest.mark.parametrize(("mask", "past"), MASKS)
@pytest.mark.parametrize("causal", [0, 1])
def test_packed_attention(mask: str | None, causal: int, past: int) -> None:
    batch, length, hidden, count = 2, 4, 6, 2
    keys = length + past
    rng = np.random.default_rng(0)
    masks: dict[str | None, Array | None] = {
        None: None,
        "length": np.array([keys, keys - 1], np.int32),
        "ends": np.array([keys, keys - 1, 0, 1], np.int32),
        "key": (rng.random((batch, keys)) < 0.8).astype(np.int32),
        "query": (rng.random((batch, length, keys)) < 0.8).astype(np.int32),
    }
    inputs = {
        "x": normal(0, batch, length, 5),
        "w": normal(1, 5, 3 * hidden),
        "b": normal(2, 3 * hidden),
        "mask": masks[mask],
        "past": normal(3, 2, batch, count, past, hidden // count) if past else None,
    }
    outputs = {"y": np.float32, **({"present": np.float32} if past else {})}
    proto, feed = single(
        "Attention",
        inputs,
        outputs,
        ["w", "b"],
        domain=MICROSOFT,
        num_heads=count,
        unidirectional=causal,
    )
    compare(proto, feed, 1e-5)


@pytest.mark.parametrize("cached", [0, 2])
@pytest.mark.parametrize("extra", [False, True])
@pytest.mark.parametrize("causal", [0, 1])
def test_multi_head_attention(cached: int, extra: bool, causal: int) -> None:
    # onnxruntime's causal mask is right where there are as many queries as new keys.
    batch, queries, keys, count, width = 2, 4 if causal else 3, 4, 2, 4
    hidden = count * width
    mask = np.array([[1, 1, 0, 1], [1, 1, 1, 1]], np.int32)
    inputs: dict[str, Array | None] = {
        "q": normal(0, batch, queries, hidden),
        "k": normal(1, batch, keys, hidden),
        "v": normal(2, batch, keys, hidden),
        "b": None if cached else normal(3, 3 * hidden),
        "mask": None if cached else mask,
        "bias": normal(4, 1, count, queries, keys + cached) if extra else None,
    }
    outputs: dict[str, Any] = {"y": np.float32}
    if cached:
        inputs["pk"], inputs["pv"] = (normal(n, batch, count, cached, width) for n in (5, 6))
        outputs |= {"present_k": np.float32, "present_v": np.float32}
    proto, feed = single(
        "MultiHeadAttention",
        inputs,
        outputs,
        domain=MICROSOFT,
        num_heads=count,
        unidirectional=causal,
    )
    compare(proto, feed, 1e-5)


@pytest.mark.parametrize("parts", [2, 3])
def test_packed_operands_of_multi_head_attention(parts: int) -> None:
    batch, length, count, width = 2, 3, 2, 4
    whole = normal(0, batch, length, count, parts, width)
    flat = [whole[..., n, :].reshape(batch, length, -1) for n in range(parts)]
    q = flat[0] if parts == 3 else normal(1, batch, length, count * width)
    apart = {"q": q, "k": flat[-2], "v": flat[-1]}
    same: dict[str, Any] = {"domain": MICROSOFT, "num_heads": count}
    proto, feed = single("MultiHeadAttention", apart, {"y": np.float32}, **same)
    expected = models.run(proto, feed)
    packed = {"q": whole} if parts == 3 else {"q": q, "kv": whole}
    proto, feed = single("MultiHeadAttention", packed, {"y": np.float32}, **same)
    compare(proto, feed, 1e-5, expected)


@pytest.mark.parametrize("cached", [0, 5])
@pytest.mark.parametrize("rotary", [0, 1])
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("window", [-1, 2])
def test_group_query_attention(cached: int, rotary: int, packed: bool, window: int) -> None:
    many, few, width = 4, 2, 16
    batch, new = (2, 1) if cached else (2, 4)
    q = normal(0, batch, new, many * width)
    k, v = (normal(n, batch, new, few * width) for n in (1, 2))
    valid = np.array([cached + new - 1, cached + new - (2 if cached else 1)], np.int32)
    total = np.array(cached + new, np.int32)
    inputs: dict[str, Array | None] = {
        "q": np.concatenate([q, k, v], -1) if packed else q,
        "k": None if packed else k,
        "v": None if packed else v,
        "pk": normal(3, batch, few, cached, width) if cached else None,
        "pv": normal(4, batch, few, cached, width) if cached else None,
        "valid": valid,
        "total": total,
        "cos": normal(5, 16, width // 2) if rotary else None,
        "sin": normal(6, 16, width // 2) if rotary else None,
    }
    proto, feed = single(
        "GroupQueryAttention",
        inputs,
        {"y": np.float32, "present_k": np.float32, "present_v": np.float32},
        ["total"],
        domain=MICROSOFT,
        num_heads=many,
        kv_num_heads=few,
        do_rotary=rotary,
        local_window_size=window,
    )
    found = evaluate(load_model(proto), feed)
    wanted = models.run(proto, feed)
    np.testing.assert_allclose(found["y"], wanted["y"], atol=2e-6)
    for name in ("present_k", "present_v"):
        assert found[name].shape == wanted[name].shape
        for b in range(batch):
            used = valid[b] + 1
            np.testing.assert_allclose(
                found[name][b, :, :used], wanted[name][b, :, :used], atol=1e-6
            )


@pytest.mark.parametrize("position", [np.array([2]), np.array([[0, 1, 2], [3, 4, 5]])])
def test_rotary_embedding_of_microsoft(position: Array) -> None:
    inputs = {
        "x": normal(0, 2, 3, 8),
        "ids": position,
        "cos": normal(1, 9, 2),
        "sin": normal(2, 9, 2),
    }
    proto, feed = single("RotaryEmbedding", inputs, {"y": np.float32}, domain=MICROSOFT)
    compare(proto, feed, 1e-6)


@pytest.mark.parametrize(
    ("shapes", "attributes", "message"),
    [
        ([(1, 3, 2, 4), (1, 2, 2, 4), (1, 2, 2, 4)], {}, "3 query heads share 2"),
        ([(1, 2, 2, 4), (1, 2, 2, 3), (1, 2, 2, 4)], {}, "4 channels and keys 3"),
        ([(1, 2, 8), (1, 2, 8), (1, 2, 8)], {"q_num_heads": 3, "kv_num_heads": 3}, "for 3 heads"),
    ],
)
def test_operands_that_do_not_fit_are_refused(
    shapes: list[tuple[int, ...]], attributes: dict[str, Any], message: str
) -> None:
    inputs = {n: normal(0, *s) for n, s in zip("qkv", shapes, strict=True)}
    proto, _ = single("Attention", inputs, {"y": np.float32}, opset=23, **attributes)
    with pytest.raises(UnsupportedModelError, match=message):
        load_model(proto)


@pytest.mark.parametrize("opset", [18, 23])
def test_torch_attention_with_grouped_heads(opset: int) -> None:
    class Grouped(torch.nn.Module):
        def forward(self, q: Any, k: Any, v: Any) -> Any:
            attend = torch.nn.functional.scaled_dot_product_attention
            return attend(q, k, v, is_causal=True, enable_gqa=True)

    x = tuple(torch.from_numpy(normal(n, 2, h, 5, 4)) for n, h in enumerate((4, 2, 2)))
    program = torch.onnx.export(
        Grouped().eval(), x, dynamo=True, opset_version=opset, verbose=False
    )
    assert program is not None
    proto: onnx.ModelProto = program.model_proto
    feed = {p.name: t.numpy() for p, t in zip(proto.graph.input, x, strict=True)}
    name = proto.graph.output[0].name
    compare(proto, feed, 1e-6, {name: Grouped()(*x).numpy()})
