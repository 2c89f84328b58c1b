"""Commands on text cascades: passes, rewrite."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import click

from dataflow import api
from dataflow.cli.shared import (
    command,
    dims_option,
    json_option,
    output_option,
    parse_dims,
    parse_sizes,
    print_json,
    split,
)
from dataflow.report import terminal
from dataflow.report.rows import printable


@command("passes")
@click.argument("cascade", metavar="C.yaml")
@click.option("--rank", "ranks", required=True, metavar="M1,M0", help="The fibre, outer first.")
@click.option("--tensor", required=True, metavar="K", help="Whose fibre.")
@click.option(
    "--outer", multiple=True, metavar="RANK=TILE", help="Outer tile loops, for the traffic."
)
@click.option(
    "--attention",
    nargs=4,
    type=click.IntRange(min=1),
    metavar="QUERIES KEYS DEPTH BUFFER",
    help="Sizes in elements, for the lower bound on the traffic of attention.",
)
@json_option
def _passes(
    cascade: str,
    ranks: str,
    tensor: str,
    outer: Sequence[str],
    attention: tuple[int, int, int, int] | None,
    as_json: bool,
) -> None:
    """Count how often a fibre must be traversed; what is live meanwhile; the traffic."""
    tiles = parse_sizes(outer, "--outer", "P=256")
    summary = api.passes(cascade, tensor, split(ranks), outer=tiles, attention=attention)
    if as_json:
        print_json(summary.json())
        return
    from dataflow.report import analyses

    analyses.print_summary(terminal.console(), summary)


@command("rewrite")
@click.argument("cascade", metavar="C")
@click.option("--to", "names", required=True, metavar="NAME", help="Rewrite; several with commas.")
@click.option("--tile", type=int, metavar="N", help="Elements of a tile, for rewrites that tile.")
@dims_option
@output_option("D.yaml", "The text cascade to write (weights go into an .npz file beside it).")
@json_option
def _rewrite(
    cascade: str, names: str, tile: int | None, dims: Sequence[str], out: str, as_json: bool
) -> None:
    """Apply named rewrites to a text cascade or an ONNX model.

    Says of each whether it is exact (the same bits) or changes rounding.
    """
    result = api.rewrite(cascade, split(names), out, tile=tile, dims=parse_dims(dims))
    count = len(result.cascade.einsums)
    if as_json:
        steps = [dataclasses.asdict(step) for step in result.steps]
        print_json({"rewrites": steps, "einsums": count, "path": out})
        return
    for step in result.steps:
        click.echo(step.describe())
        for note in step.notes:
            click.echo(f"  {printable(note)}")
    if not any(step.changed for step in result.steps):
        click.echo("nothing was rewritten")
    click.echo(f"wrote {out}: {count} Einsums")
