"""dram_model: timing, AXI rules, contents and stalls, through cocotb."""

from __future__ import annotations

import random
import subprocess
from pathlib import Path

import pytest

from dataflow.cosim.toolchain import Model, build_cocotb, run_cocotb

pytestmark = pytest.mark.rtl

ROOT = Path(__file__).resolve().parents[2]
HARNESS = ROOT / "tests/rtl/harness"
SIM = ROOT / "hw/rtl/sim"
SOURCES = [SIM / "dram_timing.sv", SIM / "dram_model.sv", HARNESS / "dram_model_tb.sv"]
MEM_BYTES_LOG2 = 16


def build(folder: Path, beat_bytes: int) -> Model:
    model = Model(
        SOURCES,
        "dram_model_tb",
        folder / "build",
        parameters={"DATA_BYTES": beat_bytes, "MEM_BYTES_LOG2": MEM_BYTES_LOG2},
    )
    build_cocotb(model)
    return model


def run(model: Model, folder: Path, stall: int, seed: int, tests: str) -> None:
    rng = random.Random(seed)
    images = []
    # An odd length, a length below one word, an empty file, an image at the very end.
    for index, (address, length) in enumerate([(0, 3001), (8192, 5), (64, 0), (65528, 8)]):
        path = folder / f"image{index}.bin"
        path.write_bytes(rng.randbytes(length))
        images.append((path, address))
    dump = folder / "dump.bin"
    plusargs = [f"+stall={stall}", f"+seed={seed}", f"+dump_file={dump}"]
    for index, (path, address) in enumerate(images):
        plusargs += [f"+image{index}={path}", f"+addr{index}={address:x}"]
    result = run_cocotb(
        model,
        "dram_model_cocotb",
        run_dir=folder / "run",
        python_path=[HARNESS],
        plusargs=plusargs,
        env={
            "MEM_BYTES_LOG2": str(MEM_BYTES_LOG2),
            "IMAGES": ",".join(f"{path}@{address:x}" for path, address in images),
            "DUMP": str(dump),
            "SEED": str(seed),
            "STALL": str(stall),
            "COCOTB_TEST_FILTER": tests,
        },
    )
    assert result.passed, result.messages


@pytest.mark.parametrize("beat_bytes", [8, 32])
def test_dram_model(beat_bytes: int, tmp_path: Path) -> None:
    model = build(tmp_path, beat_bytes)
    # The tests of one run share the memory, `contents` wants it fresh.
    run(model, tmp_path, 0, 1, r"^(?!.*(stall_rate|contents)).*$")
    run(model, tmp_path, 0, 2, r"contents$")
    run(model, tmp_path, 300, 3, r"contents$")
    run(model, tmp_path, 300, 4, r"stall_rate$")


@pytest.mark.parametrize(
    ("plusargs", "message"),
    [
        (["+image0=missing.bin"], "cannot open missing.bin"),
        (["+image0=eight.bin", "+addr0=4"], "is not at a multiple of 8"),
        (["+image2=eight.bin", "+addr2=fffc"], "is not at a multiple of 8"),
        (["+image3=eight.bin", "+addr3=10000"], "in 65536 bytes"),
    ],
)
def test_bad_image_is_refused(
    plusargs: list[str], message: str, refusing: Path, tmp_path: Path
) -> None:
    (tmp_path / "eight.bin").write_bytes(bytes(8))
    done = subprocess.run(
        [str(refusing), *plusargs], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    assert message in done.stdout + done.stderr


@pytest.fixture(scope="module")
def refusing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model alone; it runs only until its memory is loaded."""
    from dataflow.cosim.toolchain import build_binary

    folder = tmp_path_factory.mktemp("dram")
    return build_binary(
        Model(SOURCES[:2], "dram_model", folder, parameters={"MEM_BYTES_LOG2": MEM_BYTES_LOG2})
    )
