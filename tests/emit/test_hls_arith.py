"""The library's arithmetic against the reference operators, on random and directed patterns."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest

from dataflow.evaluate.single import fma32, rint32
from dataflow.resources import hls_dir

PROGRAM = r"""
#include <cstdio>
#include "df_arith.h"
int main() {
  int32_t in[3];
  while (std::fread(in, 4, 3, stdin) == 3) {
    const float a = df::as_f32(in[0]), b = df::as_f32(in[1]), c = df::as_f32(in[2]);
    const int32_t out[8] = {
        df::as_i32(df::fma_f32(a, b, c)), df::as_i32(df::fma_int(a, b, c)),
        df::as_i32(df::max_f32(a, b)),    df::as_i32(df::min_f32(a, b)),
        df::add_i32(in[0], in[1]),        df::to_int(a, 5, -128, 127),
        df::to_int(a, 0, -2000000000, 2000000000), df::as_i32(df::to_f32(in[0]))};
    std::fwrite(out, 4, 8, stdout);
  }
  return 0;
}
"""


def patterns() -> np.ndarray:
    """Triples of finite binary32 patterns: any exponent, cancellation, halves, extremes."""
    rng = np.random.default_rng(5)
    anything = rng.integers(-(2**31), 2**31, (40000, 3)).astype(np.int32)
    small = rng.integers(-(2**12), 2**12, (20000, 3)).astype(np.float32)
    small[:, 0] += rng.choice(np.array([0, 0.5, 0.25], np.float32), 20000)
    a, b = rng.standard_normal((2, 20000)).astype(np.float32)
    nearly = np.stack([a, b, np.nextafter(-a * b, np.float32(9))], axis=1)
    edges = np.array(
        [0.0, -0.0, 1e-45, -1e-45, 1.1754944e-38, 3.4e38, -3.4e38, 2**30, -(2**30)], np.float32
    )
    grid = np.stack(np.meshgrid(edges, edges, edges), axis=-1).reshape(-1, 3)
    floats = [np.ascontiguousarray(x, dtype=np.float32) for x in (small, nearly, grid)]
    everything = np.concatenate([anything, *(x.view(np.int32) for x in floats)])
    finite = np.isfinite(everything.view(np.float32)).all(axis=1)
    return everything[finite]


@pytest.fixture(scope="module")
def binary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program, built."""
    folder = tmp_path_factory.mktemp("arith")
    (folder / "main.cpp").write_text(PROGRAM)
    flags = ["-std=c++14", "-O2", "-ffp-contract=off", "-Wall", "-Wextra", "-Werror"]
    flags += ["-Wno-unknown-pragmas", "-fsanitize=undefined", "-fno-sanitize-recover=all"]
    command = [
        "g++",
        *flags,
        f"-I{hls_dir()}",
        str(folder / "main.cpp"),
        "-o",
        str(folder / "main"),
    ]
    subprocess.run(command, check=True)
    return folder / "main"


def results(binary: Path, bits: np.ndarray) -> np.ndarray:
    """(operations, triples) of results."""
    done = subprocess.run([str(binary)], input=bits.tobytes(), capture_output=True, check=True)
    return np.frombuffer(done.stdout, dtype=np.int32).reshape(-1, 8).T


def test_fused_multiply_add_of_infinities_and_of_no_numbers(binary: Path) -> None:
    values = np.array([0, -0.0, 1.5, -3e38, np.inf, -np.inf, np.nan, 1e-45], np.float32)
    grid = np.stack(np.meshgrid(values, values, values), axis=-1).reshape(-1, 3)
    out = results(binary, np.ascontiguousarray(grid))[1]
    x, y, z = (np.ascontiguousarray(column) for column in grid.T)
    with np.errstate(all="ignore"):
        fused = fma32(x, y, z)
    none = np.isnan(fused)
    assert none.sum() > 100
    np.testing.assert_array_equal(out[none], 0x7FC00000)
    np.testing.assert_array_equal(out[~none], fused.view(np.int32)[~none])


def test_arithmetic_is_that_of_the_reference(binary: Path) -> None:
    bits = patterns()
    out = results(binary, bits)
    a, b, c = (np.ascontiguousarray(column) for column in bits.T)
    x, y, z = (column.view(np.float32) for column in (a, b, c))
    with np.errstate(all="ignore"):
        fused = fma32(x, y, z).view(np.int32)
    np.testing.assert_array_equal(out[0], fused)
    np.testing.assert_array_equal(out[1], fused)
    np.testing.assert_array_equal(out[2].view(np.float32), np.maximum(x, y))
    np.testing.assert_array_equal(out[3].view(np.float32), np.minimum(x, y))
    zeros = (x == 0) & (y == 0)
    np.testing.assert_array_equal(out[2][zeros], (a & b)[zeros])
    np.testing.assert_array_equal(out[4], (a.astype(np.int64) + b).astype(np.int32))
    rounded = rint32(x).astype(np.int64)
    np.testing.assert_array_equal(out[5], np.clip(rounded + 5, -128, 127))
    np.testing.assert_array_equal(out[6], rounded)
    np.testing.assert_array_equal(out[7], a.astype(np.float32).view(np.int32))
