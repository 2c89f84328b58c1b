"""The command that reads what other tools wrote: import."""

from __future__ import annotations

import click

from dataflow import api
from dataflow.cli.shared import command, json_option, output_option, print_json


@command("import")
@click.argument("file", metavar="FILE.yaml")
@click.option(
    "--workload",
    metavar="W",
    help="Text cascade or ONNX model that the mapping is of; without it: the architecture.",
)
@click.option("--arch", metavar="A", help="Built-in name or YAML file that the mapping is for.")
@click.option(
    "--partial-bits",
    type=int,
    default=16,
    show_default=True,
    help="Width of partial sums of a ZigZag architecture.",
)
@output_option("OUT.yaml", "Architecture or mapping file to write; map and cost read it.")
@json_option
def _import(
    file: str,
    workload: str | None,
    arch: str | None,
    partial_bits: int,
    out: str,
    as_json: bool,
) -> None:
    """Turn an architecture or mapping file of AccelForge 1.0 or ZigZag 3.9 into one of ours."""
    found = api.import_file(file, out, workload=workload, arch=arch, partial_bits=partial_bits)
    if as_json:
        print_json({"path": str(found.path), "kind": found.kind})
        return
    use = "--arch of map and cost" if found.kind == "architecture" else "dataflow cost"
    click.echo(f"wrote {found.path}: {found.kind}, for {use}")
