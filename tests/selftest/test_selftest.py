"""The micro-networks: what they are, that the hardware passes them, and that they can fail."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from dataflow.arch import load_architecture
from dataflow.cosim.rtl import model_of
from dataflow.decide import decide
from dataflow.emit.rtl import emit_rtl, library
from dataflow.evaluate import run_machine_part
from dataflow.machine import machine_of
from dataflow.mapper.streamed import streamed_mapping
from dataflow.program import build
from dataflow.selftest import arithmetic, cases, run
from dataflow.selftest.cases import CASES, cases_of, inputs_of, micro_network
from dataflow.selftest.net import Net

EDGE8 = machine_of(load_architecture("edge8"))


def test_the_micro_network_is_the_same_every_time() -> None:
    assert micro_network(EDGE8) == micro_network(EDGE8)
    first, again = (inputs_of(micro_network(EDGE8), 3) for _ in range(2))
    assert all(np.array_equal(first[name], again[name]) for name in first)


def test_every_case_says_what_it_makes_happen() -> None:
    assert len({case.__name__ for case in CASES}) == len(CASES)
    assert all(case.__doc__ for case in CASES)


def test_inputs_hold_both_ends_of_their_type() -> None:
    model = micro_network(EDGE8)
    for name, codes in inputs_of(model, 0).items():
        info = np.iinfo(codes.dtype)
        assert {int(codes.min()), int(codes.max())} <= {info.min, info.max}, name


def test_large_accumulators_are_beyond_what_binary32_holds_and_near_ties() -> None:
    net = Net("one", seed=0)
    cases.large_accumulators(net, EDGE8)
    (bias,) = [data for data in net.constants.values() if data.dtype == np.int32]
    assert (np.abs(bias.astype(np.int64)) > 1 << 23).all()
    assert (np.abs(bias.astype(np.int64)) > 1 << 24).any()
    # Some conversions are inexact, and change which side of the tie the result falls on.
    exact = bias / 2.0**18
    rounded = bias.astype(np.float32).astype(np.float64) / 2.0**18
    assert (np.rint(exact) != np.rint(rounded)).any()


@pytest.mark.parametrize(
    "name", [*arithmetic.VALUES, *arithmetic.FUNCTIONS, *arithmetic.ACCUMULATORS]
)
def test_each_arithmetic_case_gives_different_codes(name: str) -> None:
    cascade = arithmetic.arithmetic(functions=True)
    rng = np.random.default_rng(0)
    codes = {
        one: rng.integers(-128, 128, cascade.tensors[one].shape).astype(np.int8)
        for one in cascade.inputs
    }
    found = np.unique(run_machine_part(cascade, codes)[name])
    few = {
        "zero_times_huge",
        "tie_broken_by_product",
        "sum_tiny",
        "difference",
        "infinite",
        "no_number",
        "no_product",
        "no_maximum",
        "exponential_of_any",
        "logarithm_of_any",
        "root_of_any",
    }
    assert len(found) >= (1 if name in few else 50)


@pytest.mark.parametrize("name", ["edge8", "edge16", "edge32"])
def test_tiles_that_need_no_search_are_legal_on_every_machine(name: str) -> None:
    machine = machine_of(load_architecture(name))
    graph = decide(micro_network(machine), machine).require()
    whole = streamed_mapping(graph, machine, whole=True)
    assert whole is not None
    untiled = [tiling for tiling in whole.tilings.values() if set(tiling.order) <= {"b"}]
    assert len(untiled) >= 0.9 * len(graph.layers)
    for mapping in (whole, streamed_mapping(graph, machine, 0)):
        assert mapping is not None
        build(graph, mapping, machine, blank=True)  # refuses what the machine cannot run


@pytest.mark.rtl
def test_the_hardware_passes_and_is_not_asked_twice(tmp_path: Path) -> None:
    names = emit_rtl(EDGE8, tmp_path)
    files = [*(tmp_path / name for name in names), *library(simulation=True)]
    model = model_of(files, EDGE8, 26, False)
    found = run.self_test(model, EDGE8)
    assert found.passed and found.values > 100_000
    values = (arithmetic.VALUES, arithmetic.FUNCTIONS, arithmetic.ACCUMULATORS)
    assert found.cases == len(cases_of(EDGE8)) + sum(map(len, values))
    marker = model.build_dir / run.marker_name()
    known = json.loads(marker.read_text())
    marker.write_text(json.dumps({**known, "values": 1}))
    try:
        assert run.self_test(model, EDGE8).values == 1  # read back, not run again
    finally:
        marker.write_text(json.dumps(known))


@pytest.mark.rtl
def test_hardware_with_a_wrong_rounding_fails_and_is_not_remembered(tmp_path: Path) -> None:
    names = emit_rtl(EDGE8, tmp_path)
    wrong = tmp_path / "fp32_to_int.sv"
    source = wrong.read_text()
    good = "kept[0] && (sticky || kept[1])"
    assert source.count(good) == 1
    wrong.write_text(source.replace(good, "kept[0]"))
    files = [*(tmp_path / name for name in names), *library(simulation=True)]
    model = model_of(files, EDGE8, 26, False)
    found = run.self_test(model, EDGE8)
    assert found.mismatches > 0 and not found.passed
    assert not (model.build_dir / run.marker_name()).exists()
