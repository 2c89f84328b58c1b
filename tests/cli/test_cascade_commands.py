"""``passes`` and ``rewrite`` on the command line, and ``evaluate`` of text cascades."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from dataflow import api, cli
from dataflow.errors import DataflowError
from dataflow.evaluate.run import evaluate
from dataflow.ir import text
from dataflow.ir.cascade import Cascade

CASCADES = Path(__file__).parents[2] / "examples" / "cascades"
THREE = str(CASCADES / "three_pass.yaml")
ONE = str(CASCADES / "one_pass.yaml")


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    """Exit code, standard output, standard error."""
    code = cli.run([str(item) for item in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_passes_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "passes", THREE, "--rank", "M", "--tensor", "K", "--json")
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert found["passes"] == 3 and found["chain"] == ["QK", "SN", "A"]
    assert found["footprint"]["grows"] is True
    assert found["compulsory_dram_bytes"] == 4 * 4 * 64 * 1024
    assert found["attention_bound_elements"] is None


def test_passes_as_text(capsys: pytest.CaptureFixture[str]) -> None:
    more = ("--outer", "P=256", "--attention", 1024, 1024, 64, 8192)
    code, out, err = run(capsys, "passes", ONE, "--rank", "m1,M0", "--tensor", "K", *more)
    assert (code, err) == (0, "")
    assert out.startswith("1 pass over the M1,M0 fibres of K: BQK\n")
    assert "it does not grow with M1,M0" in out
    assert "K, V streamed once per outer tile" in out
    assert "of the order of 524288 elements" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--rank", "M", "--tensor", "J"), "tensor 'J': is not in the cascade"),
        (("--rank", "M9", "--tensor", "K"), "tensor 'K': has no fibre of M9"),
        (("--rank", ",", "--tensor", "K"), "--rank: '' is not a list of ranks"),
        (("--rank", "M", "--tensor", "K", "--outer", "P"), "--outer: 'P' is not RANK=TILE"),
        (("--rank", "M", "--tensor", "K", "--outer", "Z=4"), "tile Z=4: is no tile of a rank"),
        (("--rank", "M"), "dataflow passes: Missing option '--tensor'"),
    ],
)
def test_bad_fibres(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], message: str
) -> None:
    code, out, err = run(capsys, "passes", THREE, *arguments)
    assert (code, out) == (2, "")
    assert err.startswith(f"error: {message}") and "Traceback" not in err


def test_rewrite_writes_a_cascade_that_works(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    out_file = tmp_path / "d.yaml"
    code, out, err = run(capsys, "rewrite", THREE, "--to", "one-pass", "--tile", 64, "-o", out_file)
    assert (code, err) == (0, "")
    assert out == (
        "one-pass: changes rounding\n"
        "  GM, SD, AV: 3 passes over K -> 1, 16 tiles of 64\n"
        f"wrote {out_file}: 15 Einsums\n"
    )
    code, out, _ = run(capsys, "passes", out_file, "--rank", "M", "--tensor", "K", "--json")
    assert (code, json.loads(out)["passes"]) == (0, 1)


def test_several_rewrites_in_order(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    out_file = tmp_path / "d.yaml"
    names = "division-deferral,dead-code"
    code, _, err = run(capsys, "rewrite", THREE, "--to", names, "-o", out_file)
    assert (code, err) == (0, "")
    assert "AV[f, p] = AV_sum[f, p] / SD[p]" in out_file.read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--to", "two-pass"), "--to: 'two-pass' is no rewrite; use one of batch-norm-folding"),
        (("--to", "one-pass", "--tile", "0"), "--tile: 0 is no tile size"),
        (("--to", "dead-code", "--tile", "4"), "--tile: is used by none of the rewrites"),
    ],
)
def test_bad_rewrites_write_nothing(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    code, _, err = run(capsys, "rewrite", THREE, *arguments, "-o", tmp_path / "d.yaml")
    assert code == 2 and err.startswith(f"error: {message}")
    assert not list(tmp_path.iterdir())


def test_a_refused_rewrite_says_why(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    source = tmp_path / "c.yaml"
    source.write_text(
        "einsum:\n  shapes: {C: 8}\n  declaration: {X: [C]}\n  expressions: |\n"
        "    G = X[c] :: max(c)\n    Y = tanh(X[c] - G) :: add(c)\n"
    )
    code, _, err = run(capsys, "rewrite", source, "--to", "one-pass", "-o", tmp_path / "d.yaml")
    assert code == 2
    assert err.startswith("error: einsum 'Y': depends on G over the same rank, and tanh in tanh(")


def test_evaluate_runs_text_cascades(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    source = tmp_path / "c.yaml"
    lines = (CASCADES / "one_pass.yaml").read_text().replace("P: 1024", "P: 8")
    source.write_text(lines.replace("M1: 8, M0: 128", "M1: 4, M0: 4"))
    rng = np.random.default_rng(0)
    q, k, v = (rng.standard_normal(s).astype(np.float32) for s in ((64, 8), (64, 16), (64, 16)))
    np.savez(tmp_path / "x.npz", Q=q, K=k, V=v)
    arguments = ("evaluate", source, "--input", tmp_path / "x.npz", "-o", tmp_path / "y.npz")
    code, _, err = run(capsys, *arguments)
    assert (code, err) == (0, "")
    logits = k.T.astype(np.float64) @ q
    powers = np.exp(logits - logits.max(0))
    expected = v @ (powers / powers.sum(0))
    with np.load(tmp_path / "y.npz") as found:
        np.testing.assert_allclose(found["AV"], expected, rtol=0, atol=1e-5)


def test_the_same_in_python(tmp_path: Path) -> None:
    result = api.rewrite(THREE, ["one-pass"], tmp_path / "d.yaml", tile=64)
    assert text.dumps(text.load(tmp_path / "d.yaml")) == text.dumps(result.cascade)
    assert api.passes(result.cascade, "K", ["M"]).passes.passes == 1
    with pytest.raises(DataflowError, match="is no rewrite"):
        api.rewrite(THREE, ["nothing"])


def test_a_rewritten_cascade_loses_its_mapping() -> None:
    mapped = text.loads((CASCADES / "three_pass.yaml").read_text() + "loop-order: {QK: [M, P]}\n")
    assert mapped.sections
    assert not api.rewrite(mapped, ["one-pass"]).cascade.sections
    assert api.rewrite(mapped, ["dead-code"]).cascade.sections == mapped.sections


def test_rewrites_say_what_they_did(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    out_file = tmp_path / "d.yaml"
    code, out, _ = run(capsys, "rewrite", THREE, "--to", "dead-code", "-o", out_file)
    assert code == 0
    assert out == (
        f"dead-code: nothing to rewrite\nnothing was rewritten\nwrote {out_file}: 6 Einsums\n"
    )
    source = tmp_path / "c.yaml"
    source.write_text(
        "einsum:\n  shapes: {C: 8}\n  declaration: {X: [C]}\n  outputs: [Y]\n  expressions: |\n"
        "    G = X[c] :: max(c)\n    Y[c] = tanh(X[c])\n"
    )
    code, out, _ = run(capsys, "rewrite", source, "--to", "dead-code", "-o", out_file)
    assert code == 0 and out.startswith("dead-code: exact, same bits\nwrote ")


def test_rewrite_as_json(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    out_file = tmp_path / "d.yaml"
    arguments = ("--to", "one-pass,dead-code", "--tile", 64, "--json", "-o", out_file)
    code, out, _ = run(capsys, "rewrite", THREE, *arguments)
    assert code == 0
    assert json.loads(out) == {
        "rewrites": [
            {
                "name": "one-pass",
                "exact": False,
                "changed": True,
                "notes": ["GM, SD, AV: 3 passes over K -> 1, 16 tiles of 64"],
            },
            {"name": "dead-code", "exact": True, "changed": False, "notes": []},
        ],
        "einsums": 15,
        "path": str(out_file),
    }


def test_check_lists_the_einsums_of_a_text_cascade(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "check", THREE, "--json")
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert (found["evaluates"], found["compiles"]) == (True, False)  # floats
    rows = {row["name"]: row for row in found["nodes"]}
    assert list(rows) == ["QK", "GM", "SN", "SD", "A", "AV"]
    first = rows["QK"]
    assert first["operator"] == "QK[m, p] = Q[e, p] * K[e, m] :: add(e)"
    assert (first["runs"], first["reason"]) == (
        [],
        "its result QK is float32, which Einsum 'GM' and 1 more cannot take over in registers",
    )
    assert first["fix"] == "put QuantizeLinear and DequantizeLinear between the two"
    code, out, _ = run(capsys, "check", THREE)
    assert code == 0 and "QK[m, p] = Q[e, p] * K[e, m] :: add(e)" in out


def test_check_places_the_errors_of_a_text_cascade(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    source = tmp_path / "c.yml"
    head = "einsum:\n  shapes: {C: 8}\n  declaration: {X: [C]}\n  expressions: |\n"
    source.write_text(head + "    Y[c] = X[c] +\n")
    code, out, err = run(capsys, "check", source)
    assert (code, out) == (2, "")
    assert err.startswith(f"error: {source}:5:")
    source.write_text(head + "    Y[c] = X[c] / 2\n")
    code, out, err = run(capsys, "check", source, "--dim", "N=1")
    assert (code, out) == (2, "") and "a text cascade has no dynamic dimensions" in err


def test_compile_takes_no_text_cascade(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code, out, err = run(capsys, "compile", THREE, "-o", tmp_path / "out")
    assert (code, out) == (2, "")
    assert "is a text cascade, not an ONNX model; compile and quantize take an ONNX model" in err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("rank", "size"), [("C", 8), ("(C - 1)", 7), ("max(C, P)", 8)])
def test_a_rank_stands_for_its_size(rank: str, size: int) -> None:
    head = "einsum:\n  shapes: {C: 8, P: 2}\n  declaration: {X: [C, P]}\n  expressions: |\n"
    cascade = text.loads(head + f"    S[p] = X[c, p] :: add(c)\n    Y[p] = S[p] / {rank}\n")
    x = np.arange(16, dtype=np.float32).reshape(8, 2)
    (y,) = api_evaluate(cascade, x)
    np.testing.assert_array_equal(y, x.sum(0) / np.float32(size))
    assert text.dumps(text.loads(text.dumps(cascade))) == text.dumps(cascade)


def test_a_tensor_goes_before_a_rank_of_its_name() -> None:
    head = "einsum:\n  shapes: {C: 8}\n  declaration: {X: [C], C: []}\n  expressions: |\n"
    cascade = text.loads(head + "    Y[c] = X[c] / C\n")
    assert cascade.inputs == ("X", "C")
    assert "Y[c] = X[c] / C" in text.dumps(cascade)


def api_evaluate(cascade: Cascade, x: np.ndarray) -> list[np.ndarray]:
    """Its outputs."""
    return list(evaluate(cascade, {"X": x}).values())
