"""Commands on any architecture: map, cost, pack, arch."""

from __future__ import annotations

from collections.abc import Sequence

import click

from dataflow import api
from dataflow.cli.shared import (
    CHECK_FAILED,
    arch_option,
    command,
    dims_option,
    json_option,
    output_option,
    parse_dims,
    print_json,
    split,
)
from dataflow.errors import DataflowError
from dataflow.report import terminal


@command("map")
@click.argument("workload", metavar="W")
@arch_option
@click.option(
    "--objective",
    default="latency",
    show_default=True,
    help="latency, energy or edp; several with commas are lexicographic.",
)
@click.option("--fix", metavar="FIX.yaml", help="Parts of the mapping that are given, by Einsum.")
@click.option(
    "--effort",
    default=1,
    show_default=True,
    metavar="N",
    help="Multiplies how much is searched; more is never worse.",
)
@click.option("--perfect", is_flag=True, help="Only tiles that divide.")
@click.option("--unfused", is_flag=True, help="Each Einsum a group of its own, all off chip.")
@click.option(
    "--stalls",
    is_flag=True,
    help="Einsum by Einsum, by the time with stalls, fill and drain; three objectives at once.",
)
@dims_option
@click.option("--roofline", metavar="R.svg", help="Plot to write (needs matplotlib).")
@output_option("M.yaml", "Mapping file to write; dataflow cost reads it.")
@json_option
def _map(
    workload: str,
    arch: str,
    objective: str,
    fix: str | None,
    effort: int,
    perfect: bool,
    unfused: bool,
    stalls: bool,
    dims: Sequence[str],
    roofline: str | None,
    out: str,
    as_json: bool,
) -> None:
    """Find the best mapping of a text cascade or ONNX model on any architecture."""
    if stalls:
        given = {"--fix": fix, "--perfect": perfect, "--unfused": unfused, "--roofline": roofline}
        for name in (name for name, value in given.items() if value):
            raise DataflowError("--stalls", f"does not go with {name}", "leave one of them out")
        _stalls(
            api.map_with_stalls(
                workload, arch, split(objective), out=out, effort=effort, dims=parse_dims(dims)
            ),
            as_json,
        )
        return
    with terminal.progress_bar("map") as progress:
        result = api.map_model(
            workload,
            arch,
            split(objective),
            out=out,
            fix=fix,
            effort=effort,
            perfect=perfect,
            fuse=not unfused,
            roofline=roofline,
            dims=parse_dims(dims),
            progress=progress,
        )
    if as_json:
        print_json(result.json())
        return
    from dataflow.report import maps

    maps.print_map(terminal.console(), result.found, result.arch, result.objectives)


def _stalls(result: api.Stalled, as_json: bool) -> None:
    """Prints what was found by the time with stalls."""
    if as_json:
        print_json(result.json())
        return
    from dataflow.report import maps

    maps.print_stalls(terminal.console(), result.found, result.costed.arch, result.objective)


@command("cost")
@click.argument("mapping", metavar="M.yaml")
@arch_option
@json_option
def _cost(mapping: str, arch: str, as_json: bool) -> None:
    """Cost a mapping file: exact accesses, energy, time and what bounds it."""
    result = api.cost(mapping, arch)
    if as_json:
        print_json(result.json())
        return
    from dataflow.cost.stalls import stalled
    from dataflow.report import costs

    estimate = stalled(result.mapping, result.workload, result.arch)
    costs.print_cost(terminal.console(), result.cost, result.arch, estimate)


@command("pack")
@click.argument("buffers", metavar="B.csv")
@click.option("--capacity", type=int, metavar="N", help="Bytes of the memory.")
@click.option(
    "--align", type=int, default=1, show_default=True, help="All offsets are multiples of it."
)
@click.option("--minimize", is_flag=True, help="Look for the least capacity, with a lower bound.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the search.")
@click.option("--bank-bytes", type=int, metavar="N", help="Bytes of a bank, for bank groups.")
@click.option("--effort", type=int, metavar="N", help="Decisions before the search gives up.")
@output_option("O.csv", "The file to write: id,lower,upper,size,offset.")
@json_option
def _pack(
    buffers: str,
    capacity: int | None,
    align: int,
    minimize: bool,
    seed: int,
    bank_bytes: int | None,
    effort: int | None,
    out: str,
    as_json: bool,
) -> None:
    """Place buffers with given lifetimes in a memory.

    B.csv has the columns id,lower,upper,size (half-open lifetimes, bytes) and may have align
    (bytes), gap (bytes kept free behind the buffer, or steps such as 3-5 of its life in which its
    bytes are free), fixed_offset (bytes) and bank_group (names; buffers of one group that live
    together share no bank). Exit 1 when there are no offsets, or none are found: which, is said.
    """
    from dataflow.memory import COMPILED, NOTE

    if not COMPILED:
        click.echo(f"note: {NOTE}", err=True)
    found = api.pack(
        buffers,
        out,
        capacity=capacity,
        align=align,
        minimize=minimize,
        bank_bytes=bank_bytes,
        seed=seed,
        effort=effort,
    )
    if as_json:
        keys = ("proven", "reason", "top", "bound", "nodes")
        solved = found.offsets is not None
        print_json(
            {
                "status": "solved" if solved else "infeasible" if found.proven else "unknown",
                **{key: getattr(found, key) for key in keys},
                "gap": found.top / found.bound - 1 if solved and found.bound else None,
                "compiled": COMPILED,
                "path": out if solved else None,
            }
        )
    if found.offsets is None:
        if not as_json:
            click.echo(found.reason, err=True)
        raise click.exceptions.Exit(CHECK_FAILED)
    if not as_json:
        end = "no less will do" if found.proven else f"none below {found.bound} will do"
        click.echo(f"wrote {out}: {len(found.offsets)} buffers in {found.top} bytes; {end}")


@command("arch")
@click.argument("name", required=False)
@click.option("--source", is_flag=True, help="Print the YAML file, to start one of your own.")
@json_option
def _arch(name: str | None, source: bool, as_json: bool) -> None:
    """List the built-in architectures, or show one (a name or a YAML file)."""
    from dataflow.arch import architecture_path, builtin_names, load_architecture
    from dataflow.report import machines

    if name is None:
        if source:
            raise DataflowError("--source", "needs the name of an architecture", "give one")
        all_of_them = [load_architecture(item) for item in builtin_names()]
        if as_json:
            print_json([machines.architecture_json(item) for item in all_of_them])
        else:
            terminal.console().print(machines.architecture_list(all_of_them))
        return
    architecture = load_architecture(name)
    if source:
        click.echo(architecture_path(name).read_text(encoding="utf-8"), nl=False)
    elif as_json:
        print_json(machines.architecture_json(architecture))
    else:
        console = terminal.console()
        console.print(machines.architecture_tree(architecture))
        refused = machines.buildable(architecture)[1]
        if refused:
            console.print(refused, markup=False, highlight=False, style="yellow")
