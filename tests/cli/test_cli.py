"""The command line: exit codes, one message on standard error, JSON alone on standard output."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dataflow
from dataflow import api, cli
from dataflow.errors import DataflowError
from dataflow.report import load_csim, load_simulation, load_summary
from dataflow.resources import arch_dir
from tests.report import samples

COMMANDS = (
    "arch", "check", "compile", "cost", "csim", "evaluate", "export", "implement", "import", "map",
    "pack", "passes", "plan", "quantize", "report", "rewrite", "simulate",
)  # fmt: skip


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Exit code, standard output, standard error."""
    code = cli.run([str(item) for item in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_commands_are_those_that_work(capsys: pytest.CaptureFixture[str]) -> None:
    assert tuple(sorted(cli.cli.commands)) == COMMANDS
    code, out, err = run(capsys, "--help")
    assert (code, err) == (0, "")
    for name in COMMANDS:
        assert f"\n  {name} " in out


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_and_debug(capsys: pytest.CaptureFixture[str], name: str) -> None:
    code, out, err = run(capsys, name, "--help")
    assert (code, err) == (0, "")
    assert out.startswith(f"Usage: dataflow {name} ")
    assert "--debug" in out


@pytest.mark.parametrize(
    "name", ["arch", "check", "compile", "csim", "implement", "report", "simulate"]
)
def test_commands_with_a_result_print_json(capsys: pytest.CaptureFixture[str], name: str) -> None:
    assert "--json" in run(capsys, name, "--help")[1]


USAGE: list[tuple[list[str], str]] = [
    ([], "dataflow: Missing command; see dataflow --help"),
    (
        ["compil"],
        "dataflow: No such command 'compil'. Did you mean 'compile'?; see dataflow --help",
    ),
    (["compile"], "dataflow compile: Missing argument 'M.onnx'; see dataflow compile --help"),
    (
        ["compile", "m.onnx"],
        "dataflow compile: Missing option '-o' / '--output'; see dataflow compile --help",
    ),
    (
        ["compile", "m.onnx", "-o", "o", "--target", "verilog"],
        "--target: 'verilog' is not known; use rtl, hls",
    ),
    (
        ["compile", "m.onnx", "-o", "o", "--part", "zcu104"],
        "--part: 'zcu104' is no part of AMD's; give device, package and speed grade, such as "
        "xczu7ev-ffvc1156-2-e or xc7z020clg400-1",
    ),
    (
        ["compile", "m.onnx", "-o", "o", "--target", "rtl", "--part", "xc7z020clg400-1"],
        "--part: is the HLS project's, which is not made; add hls to --target",
    ),
    (
        ["compile", "m.onnx", "-o", "o", "--target", ","],
        "--target: names nothing; use some of rtl, hls, each once",
    ),
    (
        ["compile", "m.onnx", "-o", "o", "--objective", "latency,latency"],
        "--objective: names one twice; use some of latency, energy, edp, each once",
    ),
    (
        ["compile", "m.onnx", "-o", "o", "--dim", "N"],
        "--dim: 'N' is not NAME=N; use for example --dim N=1",
    ),
    (
        ["compile", "m.onnx", "-o", "o", "--dim", "N=0"],
        "--dim: 'N=0' is not NAME=N; use for example --dim N=1",
    ),
    (
        ["compile", "m.onnx", "-o", "o", "--dim", "N=1", "--dim", "N=2"],
        "--dim: gives N two sizes; give one",
    ),
    (
        ["quantize", "m.onnx", "--calibrate", "x.npz", "--format", "int4", "-o", "q.onnx"],
        "dataflow quantize: Invalid value for '--format': 'int4' is not one of 'auto', "
        "'qoperator', 'qdq'; "
        "see dataflow quantize --help",
    ),
    (["check", "m.onnx"], "m.onnx: there is no such file; give the path of a model"),
    (
        ["simulate", "none"],
        "none: does not exist; run dataflow compile MODEL -o OUT first, and name OUT",
    ),
    (["simulate", "none", "--stall", "1"], "--stall: 1.0 is not a probability; use 0 to 0.9"),
    (
        ["simulate", "none", "--stall", "nan"],
        "--stall: nan is not a probability; use 0 to 0.9",
    ),
    (
        ["csim", "none"],
        "none: does not exist; run dataflow compile MODEL -o OUT first, and name OUT",
    ),
    (
        ["report", "."],
        ".: is not an output folder of compile; run dataflow compile MODEL -o OUT first, and "
        "name OUT",
    ),
    (
        ["arch", "edge"],
        "edge: is not the name of a built-in architecture nor a file; did you mean edge8? "
        "use edge8, edge16, edge32, flat, nvdla, simple, eyeriss, fusemax, tpu_like "
        "or the path of a YAML file",
    ),
    (["arch", "--source"], "--source: needs the name of an architecture; give one"),
]


@pytest.mark.parametrize(("arguments", "message"), USAGE, ids=[m[:45] for _, m in USAGE])
def test_bad_usage_is_one_message_and_2(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(capsys, *arguments) == (2, "", f"error: {message}\n")
    assert list(tmp_path.iterdir()) == []


def test_folder_that_is_not_ours_stops_compile_before_any_work(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "m.onnx").write_bytes(b"not looked at")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("keep")
    code, out, err = run(capsys, "compile", "m.onnx", "-o", "out")
    assert (code, out) == (2, "")
    assert err == (
        "error: out: exists, is not empty and was not written by dataflow; name another folder, "
        "or remove it yourself\n"
    )
    assert (tmp_path / "out" / "mine").read_text() == "keep"


def test_our_own_bug_is_one_message_too(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("division by zero\nsecond line")

    monkeypatch.setattr(api, "report", broken)
    code, _, err = run(capsys, "report", str(tmp_path))
    assert code == 2
    assert err == (
        "error: internal error: ZeroDivisionError: division by zero; run again with --debug and "
        "report it\n"
    )


@pytest.mark.parametrize("place", [0, 1])
def test_debug_shows_the_traceback(tmp_path: Path, place: int) -> None:
    arguments = ["arch", "edge"]
    arguments.insert(place, "--debug")
    done = subprocess.run(
        [sys.executable, "-m", "dataflow", *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "Traceback" in done.stderr
    assert "DataflowError" in done.stderr
    assert done.stderr.splitlines()[-1].startswith("error: edge: is not the name")


def test_arch_lists_and_shows(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "arch")
    assert code == 0
    rows = [line.split() for line in out.splitlines() if "edge" in line]
    assert [row[:6] for row in rows] == [
        ["edge8", "8", "x", "8", "64", "bit"],
        ["edge16", "16", "x", "16", "128", "bit"],
        ["edge32", "32", "x", "32", "256", "bit"],
    ]
    code, out, _ = run(capsys, "arch", "edge16")
    assert code == 0
    assert "activations: 256 KiB, lines of 128 bit, 8 banks" in out
    code, out, _ = run(capsys, "arch", "edge16", "--source")
    assert out == (arch_dir() / "edge16.yaml").read_text()


def test_arch_json(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "arch", "edge8", "--json")
    data = json.loads(out)
    assert code == 0
    assert data["machine"]["rows"] == 8
    assert data["refused_for_rtl"] is None
    assert data["nodes"][0]["kind"] == "memory"
    code, out, _ = run(capsys, "arch", "--json")
    names = [item["name"] for item in json.loads(out)]
    assert names[:3] == ["edge8", "edge16", "edge32"]
    assert set(names[3:]) == {"eyeriss", "flat", "fusemax", "nvdla", "simple", "tpu_like"}


def test_arch_shows_a_file_that_cannot_be_built(capsys: pytest.CaptureFixture[str]) -> None:
    file = str(Path(__file__).parents[1] / "arch" / "data" / "eyeriss.yaml")
    code, out, _ = run(capsys, "arch", file)
    assert code == 0
    assert "rows: 12 instances" in out
    assert "cannot build this machine" in out
    data = json.loads(run(capsys, "arch", file, "--json")[1])
    assert data["machine"] is None
    assert "it has no memory called MainMemory" in data["refused_for_rtl"]


def test_report_writes_the_page_and_prints_the_tables(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    out = samples.folder(tmp_path / "out")
    code, text, err = run(capsys, "report", str(out))
    assert (code, err) == (0, "")
    assert f"wrote {out}/report/index.html" in text
    assert "0.9756" in text
    assert "\x1b" not in text
    code, text, _ = run(capsys, "report", str(out), "--json")
    data = json.loads(text)
    assert data["simulation"]["cycles"] == 61_100
    assert data["csim"]["mismatches"] == 0


@pytest.mark.parametrize(("mismatches", "code"), [(0, 0), (3, 1)])
@pytest.mark.parametrize("as_json", [False, True])
def test_simulate_fails_with_1_on_mismatches(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    mismatches: int,
    code: int,
    as_json: bool,
) -> None:
    out = samples.folder(tmp_path / "out", mismatches=mismatches)
    asked: dict[str, Any] = {}

    def simulated(folder: str, **options: Any) -> Any:
        asked.update(options, folder=folder)
        return load_simulation(Path(folder))

    monkeypatch.setattr(api, "simulate", simulated)
    arguments = ["simulate", str(out), "--stall", "0.2", "--waves", "--torch", "n.py:make"]
    found, text, err = run(capsys, *arguments, *(["--json"] if as_json else []))
    assert found == code
    assert err == (f"{mismatches} mismatches with evaluate()\n" if mismatches else "")
    assert (asked["folder"], asked["stall"], asked["waves"]) == (str(out), 0.2, True)
    assert asked["torch_spec"] == "n.py:make"
    if as_json:
        assert json.loads(text)["mismatches"] == mismatches
    else:
        assert "61,100" in text


def test_csim_prints_its_result(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    out = samples.folder(tmp_path / "out")
    monkeypatch.setattr(api, "csim", lambda folder, **_: load_csim(Path(folder)))
    code, text, _ = run(capsys, "csim", str(out), "--json")
    assert (code, json.loads(text)["run_seconds"]) == (0, 0.5)
    assert "C simulation: 0 mismatches with evaluate()" in run(capsys, "csim", str(out))[1]


def test_compile_passes_its_options_on(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    out = samples.folder(tmp_path / "out")
    asked: dict[str, Any] = {}

    def compiled(model: str, folder: str, **options: Any) -> Any:
        asked.update(options, model=model)
        return load_summary(Path(folder))

    monkeypatch.setattr(api, "compile_model", compiled)
    code, text, _ = run(
        capsys, "compile", "m.onnx", "-o", str(out), "--arch", "edge8", "--target", "rtl",
        "--objective", "edp, latency", "--dim", "batch=2", "--dim", "a=b=3", "--json",
    )  # fmt: skip
    assert (code, json.loads(text)["macs"]) == (0, 12_501_632)
    assert asked["targets"] == ("rtl",)
    assert asked["objective"] == ("edp", "latency")
    assert asked["dims"] == {"batch": 2, "a=b": 3}
    assert asked["arch"] == "edge8"


def test_no_progress_and_no_colour_in_a_pipe(tmp_path: Path) -> None:
    out = samples.folder(tmp_path / "out")
    done = subprocess.run(
        [sys.executable, "-m", "dataflow", "report", str(out)], capture_output=True, check=True
    )
    assert done.stderr == b""
    assert b"\x1b" not in done.stdout


def test_start_up_does_not_import_the_heavy_libraries() -> None:
    program = (
        "import sys; from dataflow import cli; code = cli.run(['arch']); "
        "print(code, sorted({'torch', 'onnx', 'onnxruntime', 'ortools', 'numba'} & {*sys.modules}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "0 []"


def test_functions_are_not_hidden_by_rooms_of_the_same_name() -> None:
    from dataflow.evaluate import run_machine_part
    from dataflow.report import write_report

    assert callable(run_machine_part)
    assert callable(write_report)
    assert dataflow.evaluate is api.evaluate
    assert dataflow.report is api.report
    assert set(dataflow.__all__) >= {"export", "quantize", "check", "compile", "simulate", "csim"}


def test_python_functions_raise_the_same_errors(tmp_path: Path) -> None:
    with pytest.raises(DataflowError, match=r"none\.onnx: there is no such file"):
        dataflow.evaluate(tmp_path / "none.onnx", {"x": np.zeros(1)})
    with pytest.raises(DataflowError, match="does not exist; run dataflow compile"):
        dataflow.report(tmp_path / "none")
    with pytest.raises(DataflowError, match="'fpga' is not known; use rtl, hls"):
        dataflow.compile("m.onnx", tmp_path / "o", targets=["fpga"])


def test_json_has_no_infinity() -> None:
    assert json.loads(api.to_json({"a": [float("inf"), 1.5], 2: float("nan")})) == {
        "a": [None, 1.5],
        "2": None,
    }
