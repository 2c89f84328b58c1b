"""The function stage in SystemVerilog, bit for bit against its NumPy form."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest

from dataflow.cosim.toolchain import Model, build_binary
from dataflow.emit.functions import PACKAGE, sv_function_package
from dataflow.evaluate.functions import Function, apply
from dataflow.resources import rtl_dir
from tests.evaluate.functions.arguments import arguments, special

pytestmark = pytest.mark.rtl

FUNCTIONS = [function for function in Function if function != Function.IDENTITY]


class Stage:
    """The built testbench."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        package = folder / f"{PACKAGE}.sv"
        package.write_text(sv_function_package(), encoding="utf-8")
        sources = [
            rtl_dir() / "vector/fp32_pkg.sv",
            package,
            rtl_dir() / "function/fp32_function.sv",
            Path(__file__).parent / "harness/fp32_function_tb.sv",
        ]
        self.executable = build_binary(Model(sources, "fp32_function_tb", folder / "build"))

    def check(self, functions: np.ndarray, x: np.ndarray, scale: np.ndarray, stall: bool) -> None:
        """Compares all results and shows the first wrong one."""
        records = np.zeros((len(x), 3), ">u4")
        records[:, 0], records[:, 1] = functions, x.view(np.uint32)
        records[:, 2] = scale.astype(np.int64) & 0xFFFFFFFF
        vectors, results = self.folder / "vectors.bin", self.folder / "results.bin"
        records.tofile(vectors)
        subprocess.run(
            [
                *(str(self.executable), f"+vectors={vectors}", f"+results={results}"),
                f"+stall={int(stall)}",
            ],
            check=True,
            capture_output=True,
        )
        got = np.fromfile(results, "<u4")
        want = np.zeros(len(x), np.uint32)
        for function in FUNCTIONS:
            one = functions == function
            want[one] = apply(function, x[one], scale[one]).view(np.uint32)
        assert len(got) == len(want)
        wrong = np.flatnonzero(got != want)
        first = wrong[0] if len(wrong) else 0
        assert len(wrong) == 0, (
            f"{len(wrong)} wrong, first: {Function(int(functions[first])).name} of "
            f"{records[first, 1]:08x} scale {scale[first]}: {got[first]:08x}, not {want[first]:08x}"
        )


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Stage:
    return Stage(tmp_path_factory.mktemp("function"))


@pytest.mark.parametrize("stall", [False, True])
def test_stage_on_random_arguments_of_all_functions_at_once(stage: Stage, stall: bool) -> None:
    """Functions follow each other in the pipeline in any order."""
    rng = np.random.default_rng(20 + stall)
    x = arguments(rng, 30_000)
    functions = rng.choice(np.array(FUNCTIONS), len(x))
    scale = np.where(rng.random(len(x)) < 0.5, 0, rng.integers(-600, 600, len(x)))
    stage.check(functions, x, scale, stall)


def test_stage_on_special_values(stage: Stage) -> None:
    x, functions = np.meshgrid(special(), np.array(FUNCTIONS))
    everything = [np.ravel(a) for a in (functions, x)]
    for scale in (0, 511, -512, 1, -1, -130, 127):
        stage.check(everything[0], everything[1], np.full(everything[0].shape, scale), False)


@pytest.mark.slow
@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda f: f.name)
def test_stage_on_every_significand(stage: Stage, function: Function) -> None:
    """All pieces to their last step: exponents around one, both signs."""
    fraction = np.arange(1 << 23, dtype=np.uint32)
    for exponent in (126, 127, 128):
        x = (fraction | np.uint32(exponent << 23)).view(np.float32)
        stage.check(np.full(len(x), int(function)), x, np.zeros(len(x), np.int64), False)
