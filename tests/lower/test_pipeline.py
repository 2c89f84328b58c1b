"""The pipeline as data: each pass verified, exact where it says so, saved by compile."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dataflow import api
from dataflow.errors import DataflowError
from dataflow.evaluate import evaluate
from dataflow.frontend import load_model
from dataflow.ir import Cascade, text
from dataflow.lower.pipeline import PIPELINE
from dataflow.rewrite import Pass, run_passes
from tests.decide.mutants import seed_model

NAMES = [
    *("dead-code", "parameter-folding", "integer-filters", "split-pieces", "pool-codes"),
    *("tabulate", "integer-signs", "threshold-counts", "integer-sums", "code-arithmetic"),
    *("integer-sums-near-ties", "near-ties", "softmax-words", "norm-sums", "norm-words"),
    "row-sums",
    *("stage-functions", "uniform-parameters"),
    *("merge-parameters", "volumes", "long-maxima", "reduction-order"),
    *("affine-part", "early-codes", "inline-wide", "rank-order", "layout-copies", "alias"),
]


def test_entries_have_names_and_reasons() -> None:
    assert [p.name for p in PIPELINE] == NAMES
    assert all(len(p.reason.split()) > 5 for p in PIPELINE)


@pytest.mark.parametrize("seed", range(12))
def test_every_pass_that_says_so_keeps_all_bits(seed: int) -> None:
    cascade = load_model(seed_model(seed))
    draw = np.random.default_rng(seed)
    inputs = {}
    for name in cascade.graph_inputs:
        tensor = cascade.tensors[name]
        drawn = draw.normal(0, 3 if tensor.dtype.is_float else 30, tensor.shape)
        inputs[tensor.label] = drawn.astype(tensor.dtype.numpy)
    before = evaluate(cascade, inputs)
    for stage in run_passes(cascade, PIPELINE):
        got = evaluate(stage.cascade, inputs)
        if stage.exact:
            for name, value in before.items():
                np.testing.assert_array_equal(got[name], value, err_msg=stage.name)
        before = got


def test_a_pass_that_breaks_the_cascade_is_caught() -> None:
    from dataclasses import replace

    def breaks(cascade: Cascade) -> Cascade:
        return replace(cascade, einsums=cascade.einsums[1:])

    with pytest.raises(DataflowError):
        run_passes(load_model(seed_model(0)), [Pass("bad", breaks, True, "to be caught")])


def test_each_stage_is_saved_and_reads_back(tmp_path: Path) -> None:
    model = tmp_path / "m.onnx"
    model.write_bytes(seed_model(1).SerializeToString())
    api.compile_model(model, tmp_path / "out", arch="edge8", targets=("rtl",))
    folder = tmp_path / "out" / "ir"
    names = ["imported", *NAMES]
    files = [f"{k:02}_{name}.yaml" for k, name in enumerate(names, 1)]
    assert sorted(p.name for p in folder.glob("*.yaml")) == [*files, "cascade.yaml"]
    for file in files:
        read = text.load(folder / file)
        assert text.dumps(read) == (folder / file).read_text(encoding="utf-8")
    last = (folder / files[-1]).read_text(encoding="utf-8")
    assert (folder / "cascade.yaml").read_text(encoding="utf-8") == last
