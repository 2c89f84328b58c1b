"""FuseMax and its baselines through the general cost model: the paper's numbers."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from dataflow.search.modulo import Dependence, Task, modulo_schedule
from dataflow.search.pipeline import schedule
from examples.fusemax.attention import CONFIGS, config, dram_bytes
from examples.fusemax.points import LENGTHS, MODELS, Point, plot, point

_RESULTS = Path(__file__).parents[1] / "golden" / "fusemax_attn_bert.csv"
"""What the artifact of the paper computes for BERT."""
TILES = 64 * 12 * 4 * 4
"""Of 256 x 256 at 1K tokens, all heads."""


@pytest.mark.parametrize(
    ("name", "cycles", "units"),
    [
        ("flat", 1024, 13),
        ("cascade", 1157 + 64 // 4, 4),
        ("arch", 65 + 256 + 1 + 8 + 128, 4),
        ("binding", 138 + 64 // 4, 4),
    ],
)
def test_bert_at_1k_tokens_by_hand(name: str, cycles: int, units: int) -> None:
    """Cycles per tile from the slots of each Einsum; traffic in units of one operand."""
    found = config(name, 1024).cost()
    assert found.cycles == cycles * TILES
    assert dram_bytes(found) == units * 64 * 12 * 1024 * 64 * 2


def test_bert_at_all_lengths() -> None:
    with _RESULTS.open() as stream:
        rows = list(csv.DictReader(stream))
    assert {row["config"] for row in rows} == set(CONFIGS)
    for row in rows:
        name, tokens = row["config"], int(row["tokens"])
        found = config(name, tokens).cost()
        exact_time = name != "unfused" and (name != "flat" or tokens <= 65536)
        exact_bytes = name in ("cascade", "arch", "binding")
        assert float(found.cycles) == pytest.approx(
            float(row["latency_cycles"]), rel=1e-6 if exact_time else 0.01
        ), row
        assert dram_bytes(found) == pytest.approx(
            int(row["dram_bytes"]), rel=1e-6 if exact_bytes else 0.01
        ), row


def test_the_array_is_busy_as_often_as_the_paper_says() -> None:
    found = config("binding", 1024).cost()
    (block,) = found.blocks
    assert float(block.busy["pe"] / block.cycles) == pytest.approx(0.8896103896)
    assert block.busy["lane"] == block.cycles


@pytest.mark.parametrize(("depth", "interval"), [(64, 138), (128, 266)])
def test_the_interval_is_proved(depth: int, interval: int) -> None:
    problem = config("binding", 4096, 1, depth, depth)
    found = schedule(problem.mapping, problem.workload, problem.arch)
    assert (found.interval, found.bound, found.optimal) == (interval, interval, True)
    if depth == 64:
        assert found.in_flight == 7
        assert found.starts["RM"] >= found.starts["LM"] + 1 + 256
        assert found.starts["RNV"] >= found.starts["SLNV"] + 1 + 256
    slots: dict[tuple[str, int], str] = {}
    for count in problem.cost().counts:
        cycles = int(count.cycles) // (16 * 16)
        if count.einsum == "AV":
            continue
        for t in range(found.starts[count.einsum], found.starts[count.einsum] + cycles):
            assert slots.setdefault((count.unit, t % interval), count.einsum) == count.einsum


def test_an_interval_above_the_busiest_unit_is_proved() -> None:
    tasks = [Task("a", "u", 2), Task("b", "v", 2), Task("c", "u", 2)]
    links = [Dependence("a", "b", 2), Dependence("b", "c", 2), Dependence("c", "a", 3, 1)]
    # The circle a -> b -> c -> a takes 7 cycles and spans one iteration.
    found = modulo_schedule(tasks, links)
    assert (found.interval, found.bound, found.length) == (7, 7, 6)


def test_points_and_plot(tmp_path: Path) -> None:
    found = point("BERT", "1K")
    assert found.speedup == pytest.approx(12582912 / 1892352)
    assert 1 < found.layer_speedup < found.speedup
    pytest.importorskip("matplotlib")
    every = [Point(m, n, 6.0, 0.8, 5.0, 0.8) for m in MODELS for n in LENGTHS]
    plot(every, tmp_path / "p.svg")
    assert "<svg" in (tmp_path / "p.svg").read_text()
