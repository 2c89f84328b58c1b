"""Commands on models: export, quantize, check, evaluate."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from dataflow import api
from dataflow.cli.shared import (
    CHECK_FAILED,
    arch_option,
    command,
    dims_option,
    host_option,
    json_option,
    keep_float_option,
    literal_option,
    output_option,
    parse_dims,
    print_json,
)
from dataflow.report import checks, terminal


@command("export")
@click.argument("spec", metavar="FILE.py:FACTORY")
@click.option("--opset", type=int, default=20, show_default=True, help="ONNX opset, 18 to 25.")
@output_option("M.onnx", "The ONNX file to write.")
def _export(spec: str, opset: int, out: str) -> None:
    """Write a torch module as ONNX. FACTORY returns (module, example_inputs)."""
    click.echo(f"wrote {api.export(spec, out, opset)}")


@command("quantize")
@click.argument("model", metavar="M.onnx")
@click.option("--calibrate", required=True, metavar="X.npz", help="Calibration samples by input.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["auto", "qoperator", "qdq"]),
    default="auto",
    show_default=True,
    help="Integer operators, quantise/dequantise pairs, or what compile takes with the best ratio.",
)
@keep_float_option
@arch_option
@host_option
@click.option(
    "--min-snr",
    type=float,
    default=10.0,
    show_default=True,
    metavar="DB",
    help="Exit with 1 when the worst held-out sample is below; the file is written all the same.",
)
@output_option("Q.onnx", "The ONNX file to write.")
@json_option
def _quantize(
    model: str,
    calibrate: str,
    form: Any,
    keep_float: Any,
    arch: str,
    host: Any,
    min_snr: float,
    out: str,
    as_json: bool,
) -> None:
    """Quantise a float model to int8 after training; says whether compile takes the result."""
    made = api.quantize_report(model, calibrate, out, form, keep_float, arch=arch, host=host)
    if as_json:
        told = {
            "float": [node.name for node in made.floats],
            "why_float": {node.name: made.why_float(node) for node in made.floats},
            "compiles": made.refusal == "",
            "path": str(made.path),
            "warning": made.warning,
        }
        print_json({**dataclasses.asdict(made), **told})
    else:
        click.echo(f"wrote {made.path}: {made.describe()}")
        if made.warning:
            click.echo(f"warning: {made.warning}", err=True)
    if not made.worst_snr_db >= min_snr:
        click.echo(
            f"the worst held-out sample is at {made.worst_snr_db:.1f} dB, below --min-snr "
            f"{min_snr:g}",
            err=True,
        )
        raise click.exceptions.Exit(CHECK_FAILED)


@command("check")
@click.argument("model", metavar="M")
@arch_option
@host_option
@literal_option
@click.option("--evaluate", "evaluates", is_flag=True, help="Ask only what evaluate can do.")
@dims_option
@json_option
def _check(
    model: str,
    arch: str,
    host: Any,
    literal: bool,
    evaluates: bool,
    dims: Sequence[str],
    as_json: bool,
) -> None:
    """List every operator: how it is lowered and where it runs; exit 2 when compile would refuse.

    M is an ONNX model; a float one is judged as compile --calibrate --keep-float none would. Of a
    text cascade, which compile does not take, each Einsum is judged, with exit 0.
    """
    verdict = api.check(model, parse_dims(dims), arch=arch, host=host, literal=literal)
    if as_json:
        print_json(checks.verdict_json(verdict))
    else:
        checks.print_verdict(terminal.console(), verdict, api.stayed_float(verdict.nodes))
    if verdict.evaluates if evaluates or api.is_text(model) else verdict.compiles:
        return
    raise verdict.error()


@command("evaluate")
@click.argument("model", metavar="M")
@click.option("--input", "input_file", required=True, metavar="X.npz", help="Inputs by name.")
@dims_option
@output_option("Y.npz", "File for the outputs by name.")
def _evaluate(model: str, input_file: str, dims: Sequence[str], out: str) -> None:
    """Run a model in the reference evaluator."""
    from dataflow.npz import save_npz

    outputs = api.evaluate(model, input_file, parse_dims(dims))
    save_npz(Path(out), outputs)
    click.echo(f"wrote {out}: " + ", ".join(f"{n} {v.shape}" for n, v in outputs.items()))
