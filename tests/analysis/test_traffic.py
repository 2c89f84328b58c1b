"""Operations, compulsory traffic, nests, the lower bound for attention."""

from __future__ import annotations

from pathlib import Path

import pytest

from dataflow.analysis import (
    attention_io_bound,
    dram_traffic,
    operational_intensity,
    operations,
    summarise,
)
from dataflow.errors import DataflowError
from dataflow.ir import text

CASCADES = Path(__file__).parents[2] / "examples" / "cascades"
SMALL = """
einsum:
  shapes: {E: 2, F: 3, M: 4, P: 6}
  declaration: {Q: [E, P], K: [E, M], V: [F, M], AV: [F, P]}
  types: {K: float64}
  expressions: |
    QK[m, p] = Q[e, p] * f32(K[e, m])
    GM[p]    = QK[m, p] :: max(m)
    AV[f, p] = exp(QK[m, p] - GM[p]) * V[f, m] :: add(m)
"""


def test_compulsory_traffic_is_every_outer_tensor_once() -> None:
    found = dram_traffic(text.loads(SMALL))
    assert {m.tensor: (m.direction, m.times, m.bytes) for m in found.tensors} == {
        "Q": ("read", 1, 2 * 6 * 4),
        "K": ("read", 1, 2 * 4 * 8),
        "V": ("read", 1, 3 * 4 * 4),
        "AV": ("write", 1, 3 * 6 * 4),
    }
    assert (found.read_bytes, found.write_bytes) == (48 + 64 + 48, 72)
    assert found.nest.startswith("compulsory")


def test_a_nest_reads_keys_and_values_once_per_query_tile() -> None:
    found = dram_traffic(text.loads(SMALL), {"P": 4})  # two tiles, the second one short
    assert {m.tensor: m.times for m in found.tensors} == {"Q": 1, "K": 2, "V": 2, "AV": 1}
    assert "K, V streamed once per outer tile" in found.nest
    fusemax = dram_traffic(text.load(CASCADES / "one_pass.yaml"), {"P": 256})
    # Q and AV once, K and V four times, 64 * 1024 float32 elements each.
    assert fusemax.bytes == 4 * 64 * 1024 * (1 + 1 + 4 + 4)


def test_operations_by_hand() -> None:
    # QK: 24 points by 2 e, cast and product at each, e folded: 96 + 24; GM: 18 folds;
    # AV: 72 points of sub, exp, mul, and 72 - 18 folds.
    cascade = text.loads(SMALL)
    assert operations(cascade) == (48 * 2 + 24) + 18 + (72 * 3 + 54)
    assert operational_intensity(cascade) == operations(cascade) / (160 + 72)


def test_operations_of_a_loop_count_its_steps() -> None:
    # 8 tiles: LS folds 128 points into one, RS adds once, for each of 1024 columns.
    assert operations(text.load(CASCADES / "running_sum.yaml")) == 8 * 1024 * (127 + 1)


def test_attention_bound() -> None:
    # S >= d^2: N^2 d^2 / S; below: N^2 d / sqrt(S); never under the compulsory traffic.
    assert attention_io_bound(4096, 4096, 64, 8192) == 4096 * 4096 * 64 * 64 / 8192
    assert attention_io_bound(4096, 4096, 64, 1024) == 4096 * 4096 * 64 / 32
    assert attention_io_bound(1, 4096, 64, 1 << 20) == 2 * 4097 * 64
    with pytest.raises(DataflowError, match="below 1"):
        attention_io_bound(4, 4, 0, 8)


def test_errors() -> None:
    with pytest.raises(DataflowError, match="tile Z=4: is no tile of a rank"):
        dram_traffic(text.loads(SMALL), {"Z": 4})
    with pytest.raises(DataflowError, match="tensor 'AV': is never read along F"):
        summarise(text.loads(SMALL), "AV", ("F",))


def test_summary_has_the_keys_of_the_contract() -> None:
    found = summarise(text.load(CASCADES / "three_pass.yaml"), "K", ("M",)).json()
    assert found["passes"] == 3 and found["chain"] == ["QK", "SN", "A"]
    assert {"footprint", "traffic", "operations", "compulsory_dram_bytes"} <= set(found)
