"""instr_check: which instructions the hardware refuses, against the rules of the tables."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dataflow.machine import isa
from dataflow.machine.decode import STRUCT_OF, decode, fixed_beats, unpack
from dataflow.machine.isa import Field, Struct, Unit
from tests.cosim.harness import compiled_network, machine
from tests.cosim.random_networks import random_network
from tests.rtl.modules import ROOT, run_module

pytestmark = pytest.mark.rtl

MACHINE = machine("edge8")
UNITS = tuple(Unit)[:4]
MAX_OPS = 64  # micro-operations that the vector unit holds
TRIALS = 2400
MOST_LEGAL = 0.8
HEADER = len(isa.HEADER.members)


def beats_of(unit: Unit, fields: dict[str, Any]) -> int:
    """Beats of an instruction with its payload."""
    line, beats = MACHINE.line_bytes, fixed_beats(unit, MACHINE.line_bytes)
    if unit is Unit.VECTOR:
        beats += -(-ops_of(fields) * isa.MICRO_OP.bits // (8 * line))
        beats += 256 // line if fields["table"] else 0
    return beats


def ops_of(fields: dict[str, Any]) -> int:
    return int(fields["ops_init"] + fields["ops_body"] + fields["ops_final"])


def complaint(unit: Unit, word: int) -> str:
    """Why the machine must refuse the fixed fields of an instruction; empty when it must not."""
    fields = unpack(STRUCT_OF[unit], word)
    wrong = next(isa.violations(STRUCT_OF[unit], fields, MACHINE), "")
    if wrong:
        return wrong
    if unit is Unit.VECTOR and not 1 <= ops_of(fields) <= MAX_OPS:
        return f"{ops_of(fields)} micro-operations"
    beats = fields["header"]["beats"]
    return "" if beats == beats_of(unit, fields) else f"{beats} beats"


def elements(struct: Struct, at: int = 0) -> Iterator[tuple[int, int]]:
    """First bit and width of each element of each field."""
    for member in struct.members:
        if isinstance(member, Field):
            for _ in range(member.count):
                yield at, member.bits
                at += member.bits
        else:
            yield from elements(member[1], at)
            at += member[1].bits


def changed(unit: Unit, word: int, rng: random.Random) -> int:
    """The word with another value in one field, now and then in its counts of operations."""
    struct = STRUCT_OF[unit]
    if unit is Unit.VECTOR and rng.random() < 0.4:
        total = rng.choice([0, 1, MAX_OPS - 1, MAX_OPS, MAX_OPS + 1, 100])
        first = min(total // 3, 63)
        second = min((total - first) // 2, 63)
        fields = unpack(struct, word)
        fields |= {"ops_init": first, "ops_body": second, "ops_final": total - first - second}
        fields["header"] = {**fields["header"], "beats": beats_of(unit, fields)}
        return isa.pack(struct, fields)
    places = list(elements(struct))
    # Most fields may be anything; of the header's the length may not.
    at, bits = rng.choice(places[:HEADER] if rng.random() < 0.3 else places)
    top = (1 << bits) - 1
    value = rng.choice([0, 1, 6, MACHINE.cols, MACHINE.cols + 1, top, rng.randint(0, top)]) & top
    return word & ~(top << at) | value << at


@pytest.fixture(scope="module")
def words() -> dict[Unit, list[int]]:
    """Fixed fields of the instructions of some programs."""
    found: dict[Unit, list[int]] = {unit: [] for unit in UNITS}
    for seed in (2, 6, 13, 66):
        program = compiled_network(random_network(seed, MACHINE), "edge8").program
        for one in decode(program.code, program.line_bytes):
            if one.unit in found:
                found[one.unit].append(isa.pack(STRUCT_OF[one.unit], one.fields))
    return found


def test_instr_check(words: dict[Unit, list[int]], tmp_path: Path) -> None:
    rng = random.Random(11)
    trials: list[dict[str, Any]] = []
    for _ in range(TRIALS):
        picked = [rng.choice(words[unit]) for unit in UNITS]
        picked = [
            changed(u, w, rng) if rng.random() < 0.5 else w
            for u, w in zip(UNITS, picked, strict=True)
        ]
        valid = rng.choice([15, 15, rng.randrange(16)])
        why = [complaint(u, w) for u, w in zip(UNITS, picked, strict=True)]
        layers = [
            unpack(STRUCT_OF[u], w)["header"]["layer"] for u, w in zip(UNITS, picked, strict=True)
        ]
        trials.append(
            {
                "valid": valid,
                "words": [f"{word:x}" for word in picked],
                "why": why,
                "illegal": sum((valid >> i & 1) << i for i, text in enumerate(why) if text),
                "layers": sum(layer << 16 * i for i, layer in enumerate(layers)),
            }
        )
    for i, unit in enumerate(UNITS):
        refused = sum(bool(t["why"][i]) for t in trials)
        assert TRIALS / 50 < refused < MOST_LEGAL * TRIALS, unit
    (tmp_path / "trials.json").write_text(json.dumps(trials), encoding="utf-8")
    rtl = ROOT / "hw/rtl"
    files = [*rtl.glob("vector/*_pkg.sv"), rtl / "ctrl/instr_check.sv"]
    run_module(
        "instr_check", MACHINE, files, tmp_path, env={"TRIALS": str(tmp_path / "trials.json")}
    )
