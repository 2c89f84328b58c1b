"""One array for all layers, as the tool that shares instances within a function sees it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from dataflow.emit.hls.project import REGISTERS, TOP
from dataflow.machine.registers import register_map
from dataflow.resources import hls_dir
from tests.emit.hls_build import emit_case
from tests.emit.hls_calls import functions, hosts
from tests.emit.layer_cases import random_case


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Dense, grouped, depthwise and vector layers."""
    folder = tmp_path_factory.mktemp("calls")
    emit_case(random_case(3, 2), folder)
    return folder


def test_all_array_layers_call_one_instance(project: Path) -> None:
    known = functions(project)
    callers = [f.name for f in known.values() if f.calls("array_tile")]
    assert len(callers) > 3
    assert all(re.fullmatch(r"l\d\d", name) and known[name].inlined for name in callers)
    assert hosts(project, "array_tile") == {TOP}
    limits = re.findall(r"ALLOCATION function instances=(\S+) limit=(\d+)", known[TOP].body)
    assert limits == [("df::array_tile", "1")]


def test_the_multipliers_stand_in_the_array_alone(project: Path) -> None:
    products = [f.name for f in functions(project).values() if re.search(r"\* *weight\[", f.body)]
    assert products == ["run_pass"]
    assert hosts(project, "array_tile") == {TOP}
    assert functions(project)["run_pass"].inlined
    calls = {f.name: f.calls("run_pass") for f in functions(project).values()}
    assert {name: count for name, count in calls.items() if count} == {"array_tile": 1}


def test_a_layer_that_is_not_inlined_has_an_array_of_its_own(project: Path) -> None:
    layer = next(f.name for f in functions(project).values() if f.calls("array_tile"))
    path = project / f"{layer}.h"
    text = path.read_text()
    head, body = text.split(f"void {layer}(")
    broken = head + f"void {layer}(" + body.replace("HLS INLINE\n", "HLS INLINE off\n", 1)
    try:
        path.write_text(broken)
        assert hosts(project, "array_tile") == {TOP, layer}
    finally:
        path.write_text(text)


def test_ports_are_read_by_constant_indices() -> None:
    text = (hls_dir() / "df_array.h").read_text()
    indices = re.findall(r"(?<!x_line_t )x_tile\[([^\]]*)\]", text)
    assert indices == ["p"]
    loop = text[: text.index("x_tile[p]")].rpartition("for (int p = 0; p < kPorts; ++p) {\n")[2]
    assert loop.startswith("#pragma HLS UNROLL\n")


def test_arguments_stand_at_the_registers_of_the_rtl() -> None:
    image, length, tensors = (offset for _, offset in REGISTERS)
    of = register_map().offset
    assert (image, image + 4) == (of("program_low"), of("program_high"))
    assert length == of("program_bytes")
    assert (tensors, tensors + 4) == (of("tensor_low"), of("tensor_high"))
