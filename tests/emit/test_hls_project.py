"""The HLS project as a whole: its files, its testbench, hostile names, determinism."""

from __future__ import annotations

import json
import re
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dataflow.cosim.csim import run_csim
from dataflow.emit.hls.micro import element, repeats_each_cycle
from dataflow.emit.hls.part import check_part
from dataflow.emit.hls.tree import lines
from dataflow.emit.hls.write import emit_hls
from dataflow.errors import DataflowError
from dataflow.layers.layer import Layer, MicroOp, MicroProgram, Stationary, View
from dataflow.layers.tiling import Tiling
from dataflow.machine.isa import Op, Operand
from tests.emit.hls_build import emit_case, machine, make, values_of
from tests.emit.layer_cases import AVERAGE_POOL, MAX_POOL, REQUANTISE, Case, random_case, residual


def chain() -> Case:
    """Two 1x1 convolutions, the second reading the first's output on chip."""
    case = Case(np.random.default_rng(0))
    case.weights["w"] = np.arange(-4, 4, dtype=np.int16).reshape(1, 1, 1, 2, 4)
    case.weights["v"] = np.ones((1, 1, 1, 4, 1), dtype=np.int16)
    case.params["m"] = np.full(4, 0.5, dtype=np.float32)
    case.params["one"] = np.ones(1, dtype=np.float32)
    program = MicroProgram((), (replace(REQUANTISE, to_int=(0, -128, 127)),), ())
    x = case.view((1, 1, 3, 2), "input")
    y = case.view((1, 1, 3, 4), "intermediate")
    z = case.view((1, 1, 3, 1), "output")
    case.memory[x.tensor] = np.array([1, 2, 255, 0, 10, 20], dtype=np.uint8)
    common = {"kind": "array", "batch": 1, "groups": 1, "p": 1, "q": 3, "micro": program}
    first = Layer(
        name="a", einsums=("conv",), n=4, c=2, source=x, output=y, params=("m",),
        stationary=Stationary("w", (0,), True), **common,  # type: ignore[arg-type]
    )  # fmt: skip
    second = Layer(
        name="b", einsums=("conv",), n=1, c=4, source=y, output=z, params=("one",),
        stationary=Stationary("v", (0,), True), **common,  # type: ignore[arg-type]
    )  # fmt: skip
    base = Tiling((), {}, "stream", 0, 2, "none", 0, 0, "resident", 0, 0, 0)
    case.add(first, base)
    case.add(second, replace(base, source="resident", sink="stream"))
    return case


def test_a_chain_by_hand(tmp_path: Path) -> None:
    case = chain()
    # (1, 2) @ [[-4 -3 -2 -1], [0 1 2 3]] = (-4 -1 2 5), halved to even: (-2 0 1 2); sum 1
    assert values_of(case)["t1"][0, 0, 0].view(np.int8).tolist() == [-2, 0, 1, 2]
    emit_case(case, tmp_path)
    run = run_csim(tmp_path, values_of(case))
    assert run.mismatches == {"t1": 0, "t2": 0}
    assert run.outputs["t2"].view(np.int8).ravel().tolist() == [1, 4 // 2 + 1 + 0 + 2, 10]


def test_a_wrong_expectation_is_counted_and_located(tmp_path: Path) -> None:
    case = chain()
    emit_case(case, tmp_path)
    golden = tmp_path / "data" / "tensor_002.bin"
    right = golden.read_bytes()
    golden.write_bytes(right[:1] + bytes([right[1] ^ 1]) + right[2:])
    done = make(tmp_path, "csim")
    assert done.returncode != 0
    result = json.loads(done.stdout)
    assert result["mismatches"] == 1
    entry = result["tensors"][1]
    assert (entry["index"], entry["first"], entry["found"]) == (2, 1, right[1])


def without_layers(folder: Path) -> None:
    """The top function does nothing."""
    path = folder / "network.cpp"
    text = path.read_text()
    path.write_text(text[: text.index('extern "C"')] + EMPTY)


EMPTY = """extern "C" void dataflow_top(const df::word_t *, uint32_t, df::word_t *) {}
"""
NO_TAPS = "STRICT=-std=c++14 -ffp-contract=off -fwrapv"


@pytest.mark.parametrize("arguments", [(), (NO_TAPS,)])
def test_an_empty_top_function_fails(arguments: tuple[str, ...], tmp_path: Path) -> None:
    emit_case(chain(), tmp_path)
    without_layers(tmp_path)
    done = make(tmp_path, "csim", *arguments)
    assert done.returncode != 0
    result = json.loads(done.stdout)
    assert [entry["index"] for entry in result["tensors"]] == [2]
    assert result["mismatches"] == result["compared"] == 3


def test_an_empty_top_function_fails_when_the_output_is_the_pattern(tmp_path: Path) -> None:
    case = chain()
    case.memory["t2"][:] = 0xA5
    emit_case(case, tmp_path)
    without_layers(tmp_path)
    done = make(tmp_path, "csim")
    assert done.returncode != 0
    assert json.loads(done.stdout)["mismatches"] == 3


def test_outputs_are_compared_where_the_library_has_no_taps(tmp_path: Path) -> None:
    emit_case(chain(), tmp_path)
    flags = "-std=c++14 -ffp-contract=off -fwrapv"
    script = (
        f"g++ {flags} -c network.cpp && g++ {flags} -DDF_CSIM tb.cpp network.o -o tb && ./tb data"
    )
    done = subprocess.run(script, shell=True, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert (result["mismatches"], result["compared"]) == (0, 3)


def test_an_output_without_expected_bytes_fails(tmp_path: Path) -> None:
    emit_case(chain(), tmp_path)
    (tmp_path / "data" / "tensor_002.bin").unlink()
    done = make(tmp_path, "csim")
    assert done.returncode != 0
    assert "tensor_002.bin: no expected bytes of an output" in done.stderr
    (tmp_path / "data" / "tensor_001.bin").unlink()
    assert "nothing was compared" in make(tmp_path, "csim").stderr


def test_csim_refuses_a_check_that_compared_nothing(tmp_path: Path) -> None:
    case = chain()
    inputs = {"t0": values_of(case)["t0"]}
    case.memory = {"t0": case.memory["t0"]}
    emit_case(case, tmp_path)
    with pytest.raises(DataflowError, match="no expected bytes of an output; nothing was compared"):
        run_csim(tmp_path, inputs)


def test_an_image_of_another_length_runs_nothing(tmp_path: Path) -> None:
    emit_case(chain(), tmp_path)
    image = tmp_path / "data" / "weights.bin"
    image.write_bytes(image.read_bytes() + bytes(64))
    done = make(tmp_path, "csim")
    assert done.returncode != 0
    assert json.loads(done.stdout)["mismatches"] == 3


def test_the_tool_simulates_with_the_taps_and_the_part(tmp_path: Path) -> None:
    case = chain()
    emit_hls(case.graph(), case.mapping(), machine("edge8"), tmp_path, "x", part="xc7z020clg400-1")
    lines = (tmp_path / "hls_config.cfg").read_text().splitlines()
    assert lines[0] == "part=xc7z020clg400-1"
    flags = "-std=c++14 -ffp-contract=off -fwrapv"
    assert f"syn.cflags={flags}" in lines
    assert f"syn.csimflags={flags} -DDF_CSIM" in lines
    assert f"tb.cflags={flags} -DDF_CSIM" in lines


@pytest.mark.parametrize(
    "part", ["xc7z020clg400-1", "xczu7ev-ffvc1156-2-e", "xcvc1902-vsva2197-2MP-e-S"]
)
def test_parts_of_every_family_are_taken(part: str) -> None:
    assert check_part(part) == part


@pytest.mark.parametrize(
    "part", ["", "zcu104", "xczu7ev", "x-1", "xc7z020\nsyn.top=f-1", "xc7z020 -1"]
)
def test_a_part_that_is_none_is_refused(part: str) -> None:
    with pytest.raises(
        DataflowError, match=r"--part: .* is no part of AMD's; give device, package"
    ):
        check_part(part)


def test_another_input_leaves_the_stored_one(tmp_path: Path) -> None:
    case = chain()
    emit_case(case, tmp_path)
    stored = (tmp_path / "data" / "tensor_000.bin").read_bytes()
    other = chain()
    other.memory["t0"] = np.array([9, 8, 7, 6, 5, 4], dtype=np.uint8)
    layers, other.layers = other.layers, []
    for layer in layers:
        other.add(layer, other.tilings[layer.name])
    assert run_csim(tmp_path, values_of(other)).mismatches == {"t1": 0, "t2": 0}
    assert (tmp_path / "data" / "tensor_000.bin").read_bytes() == stored


def test_an_output_under_another_name_and_a_tensor_nobody_knows(tmp_path: Path) -> None:
    case = chain()
    alias = replace(case.storage["t2"], name="flat", shape=(3,), layout=(0,), alias_of="t2")
    case.storage["flat"] = alias
    case.storage["t2"] = replace(case.storage["t2"], role="intermediate")
    values = values_of(case)
    del values["t1"]
    case.memory.pop("t1")
    emit_case(case, tmp_path)
    run = run_csim(tmp_path, values)
    assert run.unchecked == ("t1",)
    assert run.mismatches == {"t2": 0}
    assert run.outputs["flat"].tolist() == values["t2"].ravel().tolist()


def test_a_broken_build_names_the_error(tmp_path: Path) -> None:
    case = chain()
    emit_case(case, tmp_path)
    (tmp_path / "network.cpp").write_text("#error broken\n")
    with pytest.raises(DataflowError, match=r"the build failed: .*#error broken"):
        run_csim(tmp_path, values_of(case))


def test_same_mapping_same_bytes(tmp_path: Path) -> None:
    files = [emit_case(random_case(7), tmp_path / name) for name in ("one", "two")]
    first, second = ([p.read_bytes() for p in paths] for paths in files)
    assert [p.name for p in files[0]] == [p.name for p in files[1]]
    assert first == second


def test_hostile_names_stay_in_comments(tmp_path: Path) -> None:
    case = random_case(4)
    bad = 'x\n#error " */ ??/ $(touch bad) \\'
    case.layers = [replace(layer, einsums=(bad, 'y"><script>')) for layer in case.layers]
    emit_case(case, tmp_path, name=bad)
    done = make(tmp_path, "csim")
    assert done.stderr == ""
    assert json.loads(done.stdout)["mismatches"] == 0
    text = "".join(p.read_text() for p in tmp_path.glob("*") if p.suffix or p.name == "Makefile")
    assert "array layer: x__error" in text
    assert "#error" not in text
    assert "$(touch" not in text
    assert "<script>" not in text


def test_no_machine_path_or_date_in_the_files(tmp_path: Path) -> None:
    for path in emit_case(random_case(5), tmp_path):
        if path.suffix != ".bin":
            text = path.read_text()
            assert str(tmp_path) not in text
            assert str(Path.home()) not in text
            assert not re.search(r"\b20\d\d-\d\d", text), path.name


def printed(micro: MicroProgram, *, windowed: bool = False) -> str:
    code = element("l00", micro, windowed=windowed, separate_uses=False).code
    return "\n".join(line for scope in code for line in lines(scope))


def test_requantisation_is_one_expression() -> None:
    assert printed(MicroProgram((), (REQUANTISE,), ())) == (
        "inline uint8_t l00_element(int32_t s0, int32_t p0) {\n"
        "#pragma HLS INLINE\n"
        "  const int32_t v0 = df::to_int(df::to_f32(s0) * df::as_f32(p0), 3, -128, 127);\n"
        "  return static_cast<uint8_t>(v0);\n"
        "}"
    )


def test_residual_keeps_its_operand_order_and_signs() -> None:
    text = printed(residual(Operand.P0))
    assert "const float v1 = df::fma_f32(df::to_f32(s1), -0.310000002f, 1.25f);" in text
    assert (
        "const int32_t v2 ="
        " df::to_int(df::fma_f32(df::to_f32(v0), 0.730000019f, -(v1)), 0, -128, 127);"
    ) in text


def test_a_float_recurrence_promises_no_interval() -> None:
    assert repeats_each_cycle(MAX_POOL)
    assert not repeats_each_cycle(AVERAGE_POOL)


def test_a_window_starts_from_its_first_value() -> None:
    text = printed(MAX_POOL, windowed=True)
    assert "const int32_t v0 = first ? s0 : df::max_i32(state.r2_i, s0);" in text
    assert "r2_f" not in text


def test_values_nobody_reads_are_not_printed() -> None:
    unused = MicroOp(Op.IADD, Operand.S0, Operand.S0, dst=3)
    assert "add_i32" not in printed(MicroProgram((unused,), (REQUANTISE,), ()))


def test_a_view_beyond_the_array_is_our_bug(tmp_path: Path) -> None:
    case = chain()
    case.layers[1] = replace(case.layers[1], source=View("t9", (1, 1, 3, 4), 0, 0, 4))
    with pytest.raises(KeyError, match="t9"):
        emit_case(case, tmp_path)
