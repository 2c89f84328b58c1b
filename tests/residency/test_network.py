"""Networks as schedules: what is one step, what has a life of its own, what it costs."""

from __future__ import annotations

from pathlib import Path

import pytest

from dataflow import frontend
from dataflow.api import load
from dataflow.errors import DataflowError
from dataflow.ir.text import loads
from dataflow.residency import (
    Access,
    Array,
    Machine,
    Schedule,
    Step,
    Tensor,
    document,
    plan,
    schedule_of,
)
from dataflow.residency.least import columns, part
from tests.residency.generators import random_schedule
from tests.residency.judge import judge

ARRAY = Array(16, 16, 16)


def network(tmp_path: Path, spec: str) -> Schedule:
    """The schedule of an example, as int8."""
    path = frontend.export(f"examples/{spec}", tmp_path / "network.onnx")
    return schedule_of(load(path), ARRAY, 8)


def test_convolutions_take_what_follows_element_by_element(tmp_path: Path) -> None:
    schedule = network(tmp_path, "mobilenet.py:make_v2")
    kinds = {name: tensor.kind for name, tensor in schedule.tensors.items()}
    weighted = [s for s in schedule.steps if any(kinds[a.tensor] == "weight" for a in s.reads)]
    assert len(weighted) == 15  # 14 convolutions, which take their activations with them, and one
    assert len(schedule.steps) == 16  # classifier; the pool has no weights
    residual = [s for s in schedule.steps if s.in_place]
    assert residual, "the addition of a residual may overwrite it"
    for step in residual:
        ((new, old),) = step.in_place
        assert schedule.tensors[new].bytes == schedule.tensors[old].bytes
    assert [t.name for t in schedule.tensors.values() if t.output] == [schedule.steps[-1].writes[0]]
    found = plan(schedule, Machine(8192, 2, 1024))
    assert judge(document(found)) == found.cycles
    assert found.gap < 0.01


def test_parts_of_a_fused_projection_have_lives_of_their_own(tmp_path: Path) -> None:
    schedule = network(tmp_path, "gpt2.py:make_block")
    (fused,) = (s for s in schedule.steps if len(s.writes) > 1)
    q, k, v = fused.writes
    assert {schedule.tensors[n].bytes for n in (q, k, v)} == {32 * 64}
    lives = schedule.lives()
    assert lives[q].uses == lives[k].uses and lives[v].uses[0] > lives[k].uses[0]
    found = plan(schedule, Machine(16384, 4, 1024))
    assert judge(document(found)) == found.cycles


def test_an_embedding_is_read_where_it_is_asked(tmp_path: Path) -> None:
    schedule = network(tmp_path, "gpt2.py:make")
    gathered = sum(
        schedule.tensors[a.tensor].bytes for a in schedule.steps[0].reads if a.tensor != "ids"
    )
    assert gathered == 24 * 64 + 24 * 64  # a row for each token, a row for each place
    assert max(t.bytes for t in schedule.tensors.values()) == 4 * 64 * 64 + 4 * 64


def test_cycles_of_a_product_are_folds_of_the_array() -> None:
    schedule = schedule_of(
        loads(
            """einsum:
  name: product
  shapes: {M: 10, N: 20, K: 40}
  declaration: {A: [M, K], B: [K, N]}
  types: {A: int8, B: int8, C: int32}
  expressions: |
    C[m, n] = A[m, k] * B[k, n]
"""
        ),
        ARRAY,
    )
    (step,) = schedule.steps
    assert step.cycles == 10 * 3 * 2
    assert schedule.tensors["C"].bytes == 800 and schedule.tensors["C"].output


def test_large_schedules_are_bounded_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    schedule = random_schedule(5, steps=60)
    machine = Machine(1024, 4, 32)
    whole = plan(schedule, machine)
    assert columns(schedule) > 1000
    monkeypatch.setattr("dataflow.residency.least.COLUMNS", 1000)
    monkeypatch.setattr("dataflow.residency.planning.COLUMNS", 1000)
    parts = plan(schedule, machine)
    assert judge(document(parts)) == parts.cycles
    assert 0.8 * whole.bound < parts.bound <= whole.bound <= min(whole.cycles, parts.cycles)
    assert parts.cycles < 1.1 * whole.cycles
    assert [s.name for s in part(schedule, 3, 5).steps] == ["s3", "s4"]


X, Y = Tensor("x", 4, "input"), Tensor("y", 4, "activation", output=True)


@pytest.mark.parametrize(
    ("tensors", "steps", "message"),
    [
        ({"x": X, "y": Y}, [Step("s", 1, (Access("z"),), ("y",))], "which is not listed"),
        ({"x": X, "y": Y}, [Step("s", 1, (Access("x"),), ())], "no step makes the activation y"),
        (
            {"x": X, "y": Y},
            [Step("s", 1, (Access("x"), Access("x")), ("y",))],
            "step s reads x twice",
        ),
        (
            {"x": X, "y": Y},
            [Step("s", 1, (Access("y"),), ()), Step("t", 1, (), ("y",))],
            "step s reads y before it is made",
        ),
        ({"x": X, "y": Y}, [Step("s", -1, (), ("y",))], "step s takes -1 cycles"),
        ({"x": X, "y": Y}, [Step("s", 1, (Access("x", 0),), ("y",))], "step s reads x 0 times"),
        ({"x": X, "y": Y}, [Step("s", 1, (), ("x", "y"))], "writes x, which is there before"),
        (
            {"x": Tensor("x", 0, "input"), "y": Y},
            [Step("s", 1, (), ("y",))],
            "tensor x has 0 bytes",
        ),
        (
            {"x": Tensor("x", 5, "input"), "y": Y},
            [Step("s", 1, (Access("x"),), ("y",), (("y", "x"),))],
            "step s cannot write y over x: their sizes differ",
        ),
        (
            {"x": X, "y": Y},
            [Step("s", 1, (), ("y",), (("y", "x"),))],
            "step s cannot write y over x: it has not both",
        ),
        (
            {"x": X, "y": Y},
            [Step("s", 1, (), ("y",)), Step("s", 1, (), ())],
            "two steps are called s",
        ),
    ],
)
def test_wrong_schedules_are_refused(
    tensors: dict[str, Tensor], steps: list[Step], message: str
) -> None:
    with pytest.raises(DataflowError, match=message):
        Schedule("wrong", tensors, tuple(steps))
