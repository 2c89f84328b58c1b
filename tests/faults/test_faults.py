"""Whatever a program holds or the bus answers: a job ends, in its regions, the next is right."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import pytest

from dataflow.machine.decode import decode, sealed
from dataflow.machine.registers import register_map
from tests.cosim.harness import machine
from tests.faults.campaign import (
    Base,
    bases,
    campaign,
    drain_cycles,
    ends_with_a_bit_wrong,
    job_limit,
    judge,
    next_wrong,
    run_jobs,
)

pytestmark = pytest.mark.rtl

FETCH, LOAD, STORE = 0, 1, 2  # channels whose answers the test bench replaces
SLVERR, DECERR = 2, 3
LONG, SHORT = 20, 5  # cycles of a reset: from 16 on it is one of the bus too


def code(one: Base) -> str:
    return one.program.code.hex()


def named(result: Mapping[str, Any]) -> str:
    return register_map().error(result["error"])


def with_kind(kind: str, **details: Any) -> dict[str, Any]:
    return {"kind": kind, **details}


def test_corrupted_programs_end_in_their_regions() -> None:
    found = campaign("edge8", single=60, multi=20, seed=7, programs=3)
    assert found.wrong == ()
    assert sum(found.ends.values()) == 80
    assert {"done, right", "field", "checksum"} <= set(found.ends)


OF_ROWS = ("function", "mode", "second_use", "first_b", "depends", "to_int", "op", "a", "b", "c")
"""Fields that say what the lanes do with a row."""


def test_corrupted_programs_of_functions_end_in_their_regions() -> None:
    found = campaign("edge8", single=40, multi=10, seed=7, programs=2, rows=True, fields=OF_ROWS)
    assert found.wrong == ()
    assert {"done, right", "done, other values", "field"} <= set(found.ends)


@pytest.mark.slow
@pytest.mark.parametrize("arch", ["edge8", "edge16", "edge32"])
def test_many_corrupted_programs_of_functions_end_in_their_regions(arch: str) -> None:
    found = campaign(arch, single=1500, multi=500, seed=1, rows=True, fields=OF_ROWS)
    assert found.wrong == ()
    print(arch, dict(found.ends))


@pytest.mark.slow
@pytest.mark.parametrize("arch", ["edge8", "edge16", "edge32"])
def test_many_corrupted_programs_end_in_their_regions(arch: str) -> None:
    found = campaign(arch, single=5000, multi=1000, seed=1)
    assert found.wrong == ()
    print(arch, dict(found.ends))


@pytest.fixture(scope="module")
def disturbed() -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Jobs in which something happens, and their results; all on one machine."""
    chosen = bases("edge8", 3)
    jobs = [
        {"base": one.name, "code": code(one), "disturb": what}
        for one in chosen
        for what in (
            *(
                with_kind("fault", channel=channel, response=response, cycle=cycle)
                for channel, cycle in ((FETCH, 1), (LOAD, one.cycles // 4), (STORE, 1))
                for response in (SLVERR, DECERR)
            ),
            with_kind("start", cycle=one.cycles // 2),
            with_kind("stop", cycle=one.cycles // 3),
        )
    ]
    return jobs, run_jobs("edge8", chosen, jobs)


def of_kind(disturbed: Any, kind: str) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    found = [pair for pair in zip(*disturbed, strict=True) if pair[0]["disturb"]["kind"] == kind]
    assert found
    return found


def test_an_answer_that_is_an_error_is_told_once(disturbed: Any) -> None:
    cycles = {one.name: one.cycles for one in bases("edge8", 3)}
    for job, result in of_kind(disturbed, "fault"):
        expected = "write_response" if job["disturb"]["channel"] == STORE else "read_response"
        assert named(result) == expected, job
        # within the drain of the answer, which comes before the job would have ended
        assert not result["hung"] and result["cycles"] <= cycles[job["base"]]
        assert result["idle"] and result["outside"] == result["protocol"] == 0
        assert next_wrong(result["next"], cycles[job["base"]]) == []


def test_a_start_while_busy_changes_nothing(disturbed: Any) -> None:
    """Nor do arguments that are written meanwhile: they hold for the next job."""
    for one, (_, result) in zip(bases("edge8", 3), of_kind(disturbed, "start"), strict=True):
        assert (named(result), result["same"], result["cycles"]) == ("none", True, one.cycles)
        assert next_wrong(result["next"], one.cycles) == []


def test_the_host_stops_a_job(disturbed: Any) -> None:
    for one, (_, result) in zip(bases("edge8", 3), of_kind(disturbed, "stop"), strict=True):
        assert named(result) == "stopped" and result["cycles"] < one.cycles
        assert next_wrong(result["next"], one.cycles) == []


def test_a_bus_that_does_not_answer_is_told() -> None:
    """The memory forgets its reads: the job ends all the same, but the machine is not idle."""
    one = bases("edge8", 1)[0]
    job = {
        "base": one.name,
        "code": code(one),
        "disturb": with_kind("silence", cycle=70),
        "registers": {"job_limit": 1 << 18, "progress_limit": 500},
    }
    (result,) = run_jobs("edge8", (one,), [job])
    assert not result["hung"] and not result["idle"]
    assert result["error"] == 0x100 | 11  # no progress, and the bus owes an answer
    assert next_wrong(result["next"], one.cycles) == []  # after a reset of machine and bus


@pytest.mark.parametrize("memory", [False, True], ids=["machine", "machine and memory"])
@pytest.mark.parametrize(
    "count", [12, pytest.param(100, marks=pytest.mark.slow)], ids=["few", "many"]
)
def test_a_reset_at_any_cycle_leaves_the_next_job_right(memory: bool, count: int) -> None:
    chosen = bases("edge8", 3)
    rng = random.Random(f"{memory} {count}")
    jobs = []
    for _ in range(count):
        one = rng.choice(chosen)
        length = LONG if memory else rng.randrange(1, SHORT + 8)
        cycle = rng.randrange(one.cycles)
        what = with_kind("reset", cycle=cycle, length=length, memory=memory)
        jobs.append({"base": one.name, "code": code(one), "disturb": what})
    cycles = {one.name: one.cycles for one in chosen}
    for job, result in zip(jobs, run_jobs("edge8", chosen, jobs), strict=True):
        assert result["outside"] == result["protocol"] == 0, job
        assert next_wrong(result["next"], cycles[str(job["base"])]) == [], job


def test_a_job_is_ended_at_its_limit() -> None:
    one = bases("edge8", 1)[0]
    limit = one.cycles // 2
    job = {"base": one.name, "code": code(one), "registers": {"job_limit": limit}}
    (result,) = run_jobs("edge8", (one,), [job])
    assert (named(result), result["cycles"]) == ("job_limit", limit)
    assert next_wrong(result["next"], one.cycles) == []


@pytest.mark.parametrize(
    ("limits", "error"),
    [
        ({"read_limit": 0}, "read_outside"),
        ({"write_limit": 0}, "write_outside"),
        ({"write_first": 1 << 30}, "write_outside"),
    ],
)
def test_a_good_program_is_held_in_narrow_regions(limits: dict[str, int], error: str) -> None:
    one = bases("edge8", 1)[0]
    job = {"base": one.name, "code": code(one), "registers": limits}
    (result,) = run_jobs("edge8", (one,), [job])
    assert (named(result), result["outside"], result["protocol"]) == (error, 0, 0)
    assert result["cause"] >> 12 != 0  # an address behind the program
    assert next_wrong(result["next"], one.cycles) == []


def test_the_last_line_of_each_region_is_inside() -> None:
    """Regions as narrow as the program needs let it run; by one line less they do not."""
    one = bases("edge8", 1)[0]
    line = machine("edge8").line_bytes
    first, last = (at // line * line for at in one.program.write_region)
    last += line * (one.program.write_region[1] % line != 0)
    jobs = [
        {"base": one.name, "code": code(one), "registers": limits}
        for limits in (
            {"write_first": first, "write_limit": last},
            {"write_first": first, "write_limit": last - line},
            {"write_first": first + line, "write_limit": last},
        )
    ]
    results = run_jobs("edge8", (one,), jobs)
    assert [named(r) for r in results] == ["none", "write_outside", "write_outside"]


def test_the_checksum_covers_every_word() -> None:
    one, of = bases("edge8", 1)[0], machine("edge8")
    image = one.program.code
    rng = random.Random(3)
    jobs = []
    for at in rng.sample(range(len(image) // 4), 8):
        bad = bytearray(image)
        bad[4 * at + rng.randrange(4)] ^= 1 << rng.randrange(8)
        jobs.append({"base": one.name, "code": bytes(bad).hex(), "changes": [f"word {at}"]})
    results = run_jobs("edge8", (one,), jobs)
    assert all(r["error"] != 0 for r in results), [named(r) for r in results]
    assert sealed(image, of.line_bytes) == image
    assert [d.unit for d in decode(image, of.line_bytes)]


def test_every_bit_of_the_end_is_checked() -> None:
    one = bases("edge8", 1)[0]
    jobs = list(ends_with_a_bit_wrong(one))
    ends = [named(result) for result in run_jobs("edge8", (one,), jobs)]
    assert "none" not in ends
    assert ends[12:16] == ["header"] * 4  # without a meaning


def test_the_judge_sees_what_is_wrong() -> None:
    good = {"hung": False, "error": 0, "same": True, "cycles": 9, "outside": 0, "protocol": 0}
    result = {**good, "error_again": 0, "idle": 1, "cause": 0, "next": good}
    job = {"base": "b"}

    def wrong(changed: Mapping[str, Any], **more: Any) -> int:
        verdict = judge([{**job, **more}], [{**result, **changed}], {"b": 20}, {"b": 9})
        return len(verdict.wrong)

    assert wrong({}) == 0
    assert wrong({"hung": True}) == 1
    assert wrong({"cycles": 21}) == wrong({"outside": 1}) == wrong({"protocol": 1}) == 1
    assert wrong({"idle": 0}) == wrong({"error_again": 3}) == 1
    assert wrong({}, refused=["field"]) == 1
    assert wrong({"error": 99, "error_again": 99}) == 1
    assert wrong({"next": {**good, "same": False}}) == wrong({"next": {**good, "cycles": 8}}) == 1
    assert wrong({"next": {**good, "error": 4}}) == wrong({"next": {**good, "hung": True}}) == 1


def test_the_drain_is_what_the_bus_may_owe() -> None:
    assert {arch: drain_cycles(machine(arch)) for arch in ("edge8", "edge16", "edge32")} == {
        "edge8": 648,
        "edge16": 648,
        "edge32": 648,
    }
    one = bases("edge8", 1)[0]
    assert job_limit(one) == 2 * one.cycles + 1000
