"""The command that plans what lies on chip: plan."""

from __future__ import annotations

from collections.abc import Sequence

import click

from dataflow import api
from dataflow.cli.shared import (
    command,
    dims_option,
    json_option,
    output_option,
    parse_dims,
    print_json,
)


@command("plan")
@click.argument("model", metavar="M")
@click.option("--capacity", type=int, required=True, metavar="N", help="Bytes of the scratchpad.")
@click.option(
    "--port", type=int, default=128, show_default=True, help="Bits of the DRAM port in a cycle."
)
@click.option(
    "--array",
    default="16x16",
    show_default=True,
    metavar="RxC",
    help="Multiply-accumulators: rows of the reduction by columns of results.",
)
@click.option(
    "--bits", type=int, metavar="N", help="No element counts as wider (8: a float model as int8)."
)
@click.option(
    "--stream-bytes",
    type=int,
    metavar="N",
    help="Bytes of the scratchpad for streams (default: an eighth, at most 4096).",
)
@click.option(
    "--method",
    type=click.Choice(["best", "greedy", "exact"]),
    default="best",
    show_default=True,
    help="exact proves small networks to the word; greedy needs no solver.",
)
@click.option("--steady", is_flag=True, help="It runs again and again: weights may stay.")
@click.option("--compare", is_flag=True, help="Also what simpler rules take.")
@click.option("--reorder", is_flag=True, help="Operators in the order with the least peak.")
@click.option(
    "--recompute", is_flag=True, help="Results are computed again where that saves cycles."
)
@click.option(
    "--patches",
    metavar="STEPS:RxC",
    help="The first steps run patch by patch of their result; halos are computed again.",
)
@click.option(
    "--lines",
    metavar="STEPS:N",
    help="The first steps run in turn on N bands of lines, once; auto: the best that are found.",
)
@dims_option
@output_option("P.json", "The plan to write: regions, transfers, cycles of each step.")
@json_option
def _plan(
    model: str,
    capacity: int,
    port: int,
    array: str,
    bits: int | None,
    stream_bytes: int | None,
    method: str,
    steady: bool,
    compare: bool,
    reorder: bool,
    recompute: bool,
    patches: str | None,
    lines: str | None,
    dims: Sequence[str],
    out: str,
    as_json: bool,
) -> None:
    """Plan what of a network lies on chip when, in the cost model: bytes, cycles, addresses.

    Operators run in the order of the model. Each takes its cycles on the array, or those that the
    DRAM port needs for what is loaded, written back and streamed meanwhile, whichever are more.
    Tensors may be on chip in part. The bound holds for every plan of this model.
    """
    found = api.plan(
        model,
        capacity=capacity,
        port=port,
        array=array,
        bits=bits,
        stream_bytes=stream_bytes,
        method=method,  # type: ignore[arg-type]
        steady=steady,
        compare=compare,
        reorder=reorder,
        recompute=recompute,
        patches=patches,
        lines=lines,
        out=out,
        dims=parse_dims(dims),
    )
    if as_json:
        print_json(found.json())
        return
    from dataflow.residency import peak

    made = found.plan
    regions = made.placed.regions
    click.echo(
        f"wrote {out}: {len(made.schedule.steps)} steps, {made.cycles} cycles, "
        f"{100 * made.gap:.3f} % above the bound of {made.bound}; {made.schedule.cycles} of "
        f"arithmetic; {sum(made.costs.moved)} bytes cross the port; {len(regions)} regions; "
        f"activations would take {peak(made.schedule)} bytes at most"
    )
    if found.lines is not None:
        click.echo(
            f"  the first {found.lines.steps} steps run on {found.lines.rows} bands of lines"
        )
    for clone in found.recomputed:
        click.echo(f"  {clone.step} runs again before {clone.before}")
    for name, cycles in found.others.items():
        click.echo(f"  {name}: {cycles} cycles, {100 * (cycles / made.cycles - 1):+.1f} %")
