"""Commands on an output folder: compile, simulate, csim, implement, report."""

from __future__ import annotations

import webbrowser
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
    exit_for,
    exit_for_self_test,
    host_option,
    input_option,
    json_option,
    keep_float_option,
    literal_option,
    output_option,
    parse_dims,
    print_file,
    print_json,
    print_tables,
    split,
    torch_option,
)
from dataflow.report import terminal


@command("compile")
@click.argument("model", metavar="M.onnx")
@arch_option
@click.option(
    "--target", "targets", default="rtl,hls", show_default=True, help="Of rtl and hls, with commas."
)
@click.option(
    "--objective",
    default="latency",
    show_default=True,
    help="latency, and behind it with commas what decides between equal cycles: energy, edp.",
)
@click.option("--calibrate", metavar="X.npz", help="Calibration samples for a float model.")
@keep_float_option
@host_option
@literal_option
@click.option(
    "--bands",
    metavar="[auto|none|L:N]",
    default="none",
    show_default=True,
    help="auto: layers whose tensors do not stay on chip run on bands of rows where that is faster."
    " L:N: the first L layers run in turn on N bands.",
)
@click.option(
    "--patches",
    metavar="L:RxC",
    help="The first L layers run patch by patch of the last one's result, which is cut in R x C.",
)
@dims_option
@click.option("--part", metavar="P", help="Device of the HLS project (default: a ZCU104's).")
@torch_option
@output_option("OUT", "Folder of the project; replaced whole when it is ours.")
@json_option
def _compile(
    model: str,
    arch: str,
    targets: str,
    objective: str,
    calibrate: str | None,
    keep_float: Any,
    host: Any,
    literal: bool,
    bands: Any,
    patches: Any,
    dims: Sequence[str],
    part: str | None,
    torch_spec: str | None,
    out: str,
    as_json: bool,
) -> None:
    """Map a model onto an architecture and write the hardware project."""
    with terminal.progress_bar("compile") as progress:
        summary = api.compile_model(
            model,
            out,
            arch=arch,
            targets=split(targets),
            objective=split(objective),
            calibrate=calibrate,
            dims=parse_dims(dims),
            torch_spec=torch_spec,
            part=part,
            host=host,
            literal=literal,
            bands=bands,
            patches=patches,
            keep_float=keep_float,
            progress=progress,
        )
    if as_json:
        print_file(out, "summary.json")
        return
    from dataflow.report import print_report

    print_report(terminal.console(), summary, None, None)
    if summary.changed_rounding():
        click.echo(f"{summary.changed_rounding()}; --literal leaves it out")
    click.echo(f"wrote {out}")


@command("simulate")
@click.argument("out", metavar="OUT")
@input_option
@click.option(
    "--stall",
    type=float,
    default=0.0,
    show_default=True,
    help="Probability that an AXI handshake is refused.",
)
@click.option("--waves", is_flag=True, help="Record a waveform, OUT/sim/run/dump.vcd.")
@torch_option
@json_option
def _simulate(
    out: str,
    input_file: str | None,
    stall: float,
    waves: bool,
    torch_spec: str | None,
    as_json: bool,
) -> None:
    """Simulate the RTL and compare it with evaluate(), onnxruntime and torch."""
    with terminal.progress_bar("simulate") as progress:
        result = api.simulate(
            out,
            input=input_file,
            stall=stall,
            waves=waves,
            torch_spec=torch_spec,
            progress=progress,
        )
    if as_json:
        print_file(out, "simulation.json")
    else:
        print_tables(out)
        if waves:
            click.echo(f"wrote {Path(out, 'sim', 'run', 'dump.vcd')}")
    exit_for_self_test(result.self_test)
    exit_for(result.mismatches)


@command("csim")
@click.argument("out", metavar="OUT")
@input_option
@json_option
def _csim(out: str, input_file: str | None, as_json: bool) -> None:
    """Build and run the HLS project with g++ and compare it with evaluate()."""
    with terminal.progress_bar("csim") as progress:
        result = api.csim(out, input=input_file, progress=progress)
    if as_json:
        print_file(out, "csim.json")
    else:
        print_tables(out)
    exit_for(result.mismatches)


@command("implement")
@click.argument("out", metavar="OUT")
@click.option("--device", required=True, metavar="D", help="ecp5-85k, gw2a-18, xc7z020, ...")
@json_option
def _implement(out: str, device: str, as_json: bool) -> None:
    """Synthesise the RTL for a device; place, route and pack it where open tools can."""
    with terminal.progress_bar("implement") as progress:
        result = api.implement(out, device, progress=progress)
    if as_json:
        print_file(out, "implementation.json")
    else:
        click.echo(f"{'':22}{'lut':>8}{'ff':>8}{'dsp':>6}{'bram':>6}")
        rows = {f"synthesised {result.device}": result, "estimated before": result.estimate}
        for title, counts in {**rows, "the device has": result.capacity}.items():
            click.echo(f"{title:22}{counts.lut:8}{counts.ff:8}{counts.dsp:6}{counts.bram:6}")
        if result.fmax_mhz is not None:
            click.echo(f"{result.fmax_mhz:.1f} MHz, worst of the seeds; {result.bitstream}")
    if not result.fits:
        over = [
            f"{kind} {getattr(result, kind)} of {getattr(result.capacity, kind)}"
            for kind in ("lut", "ff", "dsp", "bram")
            if getattr(result, kind) > getattr(result.capacity, kind)
        ]
        click.echo(f"does not fit {result.device}: {', '.join(over)}", err=True)
        raise click.exceptions.Exit(CHECK_FAILED)


@command("report")
@click.argument("out", metavar="OUT")
@click.option("--open", "show", is_flag=True, help="Open the page in a browser.")
@json_option
def _report(out: str, show: bool, as_json: bool) -> None:
    """Write the report page and print its tables."""
    from dataflow.report import print_report

    result = api.report(out)
    if as_json:
        parts = {"summary": result.summary, "simulation": result.simulation, "csim": result.csim}
        dumped = {k: None if v is None else v.model_dump() for k, v in parts.items()}
        print_json({"page": str(result.page), **dumped})
    else:
        print_report(terminal.console(), result.summary, result.simulation, result.csim)
        click.echo(f"wrote {result.page}")
    if show:
        webbrowser.open(result.page.resolve().as_uri())
