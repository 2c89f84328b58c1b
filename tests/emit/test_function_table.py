"""The C++ form of the function stage, bit for bit against NumPy; the two prints of the table."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import numpy as np
import pytest

from dataflow.emit.functions import HEADER, hls_function_table, sv_function_package
from dataflow.evaluate.functions import Function, apply, composed, table, tables
from dataflow.resources import hls_dir
from tests.evaluate.functions.arguments import arguments, special

COMPOSED = ("exp", "sigmoid", "tanh", "softplus", "log", "sqrt", "erf")
PROGRAM = """
#include <cstdio>
#include "df_function.h"
int main() {
  int32_t in[2];
  while (std::fread(in, 4, 2, stdin) == 2) {
    const float x = df::as_f32(in[0]);
    const int32_t out[12] = {
        df::as_i32(df::function_f32(df::FunctionExp2, x, in[1])),
        df::as_i32(df::function_f32(df::FunctionReciprocal, x, in[1])),
        df::as_i32(df::function_f32(df::FunctionRsqrt, x, in[1])),
        df::as_i32(df::function_f32(df::FunctionLog2, x, in[1])),
        df::as_i32(df::function_f32(df::FunctionErf, x, in[1])),
        df::as_i32(df::exp_f32(x)), df::as_i32(df::sigmoid_f32(x)), df::as_i32(df::tanh_f32(x)),
        df::as_i32(df::softplus_f32(x)), df::as_i32(df::log_f32(x)), df::as_i32(df::sqrt_f32(x)),
        df::as_i32(df::erf_f32(x))};
    std::fwrite(out, 4, 12, stdout);
  }
  return 0;
}
"""


@pytest.mark.parametrize("soft", [False, True], ids=["libm", "soft_fma"])
def test_cpp_equals_numpy(tmp_path: Path, soft: bool) -> None:
    """Also with the FMA in integers that synthesis takes."""
    (tmp_path / f"{HEADER}.h").write_text(hls_function_table())
    (tmp_path / "main.cpp").write_text(PROGRAM)
    flags = ["-std=c++14", "-O1", "-ffp-contract=off", "-Wall", "-Wextra", "-Werror"]
    flags += ["-Wno-unknown-pragmas", "-fsanitize=undefined", "-fno-sanitize-recover=all"]
    flags += ["-DDF_SOFT_FMA"] if soft else []
    includes = [f"-I{tmp_path}", f"-I{hls_dir()}"]
    program = tmp_path / "main"
    subprocess.run(
        ["g++", *flags, *includes, str(tmp_path / "main.cpp"), "-o", str(program)], check=True
    )
    rng = np.random.default_rng(31 + soft)
    x = np.concatenate([arguments(rng, 30_000), np.tile(special(), 40)])
    scale = np.where(rng.random(len(x)) < 0.3, 0, rng.integers(-1100, 1100, len(x)))
    records = np.stack([x.view(np.int32), scale.astype(np.int32)], axis=1)
    done = subprocess.run([str(program)], input=records.tobytes(), capture_output=True, check=True)
    got = np.frombuffer(done.stdout, np.uint32).reshape(-1, 12).T
    with np.errstate(invalid="ignore"):
        want = [apply(f, x, scale) for f in Function if f != Function.IDENTITY]
        want += [getattr(composed, name)(x) for name in COMPOSED]
    names = [*(f.name for f in Function if f != Function.IDENTITY), *COMPOSED]
    for name, mine, theirs in zip(names, got, want, strict=True):
        wrong = np.flatnonzero(mine != theirs.view(np.uint32))
        assert len(wrong) == 0, f"{name}: {len(wrong)} differ, first at {x[wrong[0]]!r}"


def test_both_prints_hold_the_rows_of_the_table() -> None:
    rows = table()
    cpp = re.findall(r"^    \{(-?\d+), (-?\d+), (-?\d+)\},$", hls_function_table(), re.MULTILINE)
    assert [tuple(map(int, row)) for row in cpp] == [(r.c0, r.c1, r.c2) for r in rows]
    words = re.findall(r"9'd(\d+): return 65'h([0-9a-f]+);", sv_function_package())
    assert [int(index) for index, _ in words] == list(range(tables.ROWS))
    for (_, text), row in zip(words, rows, strict=True):
        word = int(text, 16)
        assert word >> 36 == row.c0
        assert (word >> 12 & 0xFFFFFF) == row.c1 & 0xFFFFFF
        assert (word & 0xFFF) == row.c2 & 0xFFF
