"""vector_program: which micro-operations the hardware refuses, against the rules of the tables."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from dataflow.arch import load_architecture
from dataflow.machine import isa, machine_of
from dataflow.machine.decode import unpack
from dataflow.machine.isa import Field, Op
from tests.rtl.modules import ROOT, run_module

pytestmark = pytest.mark.rtl

MACHINE = machine_of(load_architecture("edge16"))
TRIALS = 1500
BITS = isa.MICRO_OP.bits
GOOD = {"op": int(Op.FMA), "write": 1}


def complaint(word: int) -> str:
    """Why the machine must refuse a micro-operation; empty when it must not."""
    op = unpack(isa.MICRO_OP, word)
    wrong = next(isa.violations(isa.MICRO_OP, op, MACHINE), "")
    if wrong:
        return wrong
    if op["a_float"] and op["b_float"] and op["a"] != op["b"]:
        return "two operands are converted"
    if op["function"] and (op["op"] != Op.FMA or op["first_b"]):
        return "a function behind something else than a product"
    return ""


def drawn(rng: random.Random) -> int:
    """A micro-operation with some fields at random, often those that matter together."""
    fields: dict[str, Any] = dict(GOOD)
    members = {m.name: m for m in isa.MICRO_OP.members if isinstance(m, Field)}
    often = ("op", "a", "b", "a_float", "b_float", "function", "first_b")
    for name in rng.sample(often, rng.randrange(4)) + rng.sample(sorted(members), rng.randrange(2)):
        low = -(1 << members[name].bits - 1) if members[name].signed else 0
        fields[name] = low + rng.randrange(1 << members[name].bits)
    return isa.pack(isa.MICRO_OP, fields)


def test_vector_program(tmp_path: Path) -> None:
    rng = random.Random(5)
    each = 8 * MACHINE.line_bytes // BITS
    trials: list[dict[str, Any]] = []
    causes: set[str] = set()
    for _ in range(TRIALS):
        count = rng.randrange(1, 6)
        counts = {"ops_init": rng.randrange(count), "ops_body": 0}
        counts["ops_final"] = count - counts["ops_init"]
        words = [drawn(rng) if rng.random() < 0.3 else isa.pack(isa.MICRO_OP, GOOD)] * count
        words[rng.randrange(count)] = drawn(rng)
        why = next(filter(None, map(complaint, words)), "")
        causes.add(why)
        # What stands behind the last micro-operation in its beat is not one.
        words += [rng.getrandbits(BITS) for _ in range(-count % each)]
        beats = [words[at : at + each] for at in range(0, len(words), each)]
        trials.append(
            {
                "instruction": f"{isa.pack(isa.VECTOR, counts):x}",
                "beats": [f"{sum(w << BITS * i for i, w in enumerate(b)):x}" for b in beats],
                "why": why,
            }
        )
    assert len(causes) >= 4
    assert 0.1 * TRIALS < sum(bool(t["why"]) for t in trials) < 0.8 * TRIALS
    (tmp_path / "trials.json").write_text(json.dumps(trials), encoding="utf-8")
    rtl = ROOT / "hw/rtl"
    files = [*rtl.glob("vector/*_pkg.sv"), rtl / "vector/vector_program.sv"]
    run_module(
        "vector_program", MACHINE, files, tmp_path, env={"TRIALS": str(tmp_path / "trials.json")}
    )
