"""What every command uses: the group, its options, parsing, printing, exit codes."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click

from dataflow import __version__, api
from dataflow.errors import DataflowError
from dataflow.report import results, terminal

CHECK_FAILED = 1
BAD_INPUT = 2

_F = TypeVar("_F", bound=Callable[..., Any])


@dataclass
class State:
    """What the options that every command has say."""

    debug: bool = False


def _set_debug(context: click.Context, _: click.Parameter, value: bool) -> None:
    if value:
        context.ensure_object(State).debug = True
        warnings.resetwarnings()
        logging.disable(logging.NOTSET)


debug = click.option(
    "--debug",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_set_debug,
    help="Show tracebacks and warnings.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
dims_option = click.option(
    "--dim", "dims", multiple=True, metavar="NAME=N", help="Size of a dynamic dimension."
)
arch_option = click.option(
    "--arch", default="edge16", show_default=True, help="Built-in name or YAML file."
)
literal_option = click.option(
    "--literal",
    is_flag=True,
    help="Leave out the rewrites that change rounding (by one code, where only float rounding "
    "decides a tie).",
)
host_option = click.option(
    "--host",
    type=click.Choice(["auto", "none", "contractions"]),
    default="auto",
    show_default=True,
    help="What the host may run at the ends: what the machine cannot; only quantise, dequantise "
    "and packing; contractions too.",
)
keep_float_option = click.option(
    "--keep-float",
    type=click.Choice(["auto", "none"]),
    default="auto",
    show_default=True,
    help="Operators that int8 costs too much stay float; none does, whatever the ratio.",
)
input_option = click.option(
    "--input", "input_file", metavar="X.npz", help="Arrays by input name (default: stored, seeded)."
)
torch_option = click.option(
    "--torch", "torch_spec", metavar="FILE.py:FACTORY", help="Float torch module to compare with."
)


def output_option(metavar: str, text: str) -> Callable[[_F], _F]:
    return click.option("-o", "--output", "out", required=True, metavar=metavar, help=text)


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    no_args_is_help=False,
)
@click.version_option(__version__, prog_name="dataflow")
@debug
def cli() -> None:
    """Compile a quantised neural network onto a spatial accelerator, simulate it, compare."""


def command(name: str) -> Callable[[Callable[..., None]], click.Command]:
    def wrap(function: Callable[..., None]) -> click.Command:
        return cli.command(name)(debug(function))

    return wrap


def split(text: str) -> tuple[str, ...]:
    return tuple(item.strip() for item in text.split(",") if item.strip())


def parse_dims(items: Sequence[str]) -> dict[str, int]:
    return parse_sizes(items, "--dim", "N=1")


def parse_sizes(items: Sequence[str], option: str, example: str) -> dict[str, int]:
    sizes: dict[str, int] = {}
    for item in items:
        name, _, size = item.rpartition("=")
        if not name or not size.isascii() or not size.isdigit() or not 0 < int(size) < 2**31:
            form = "NAME=N" if option == "--dim" else "RANK=TILE"
            raise DataflowError(
                option, f"{item!r} is not {form}", f"use for example {option} {example}"
            )
        if sizes.setdefault(name, int(size)) != int(size):
            raise DataflowError(option, f"gives {name} two sizes", "give one")
    return sizes


def print_json(value: object) -> None:
    click.echo(api.to_json(value), nl=False)


def print_file(out: str, name: str) -> None:
    click.echo((Path(out) / "report" / name).read_text(encoding="utf-8"), nl=False)


def print_tables(out: str) -> None:
    from dataflow.report import load_csim, load_simulation, load_summary, print_report

    folder = Path(out)
    print_report(
        terminal.console(), load_summary(folder), load_simulation(folder), load_csim(folder)
    )


def exit_for_self_test(found: results.SelfTestResult | None) -> None:
    if found is not None and (found.mismatches or found.cycle_errors):
        click.echo(
            f"the self-test of this hardware fails: {found.mismatches} bytes of its micro-networks "
            f"differ from evaluate(), {found.cycle_errors} runs miss their predicted cycles"
            + "".join(f"\n  {name}" for name in found.wrong[:10]),
            err=True,
        )
        raise click.exceptions.Exit(CHECK_FAILED)


def exit_for(mismatches: int) -> None:
    if mismatches:
        click.echo(f"{mismatches} mismatches with evaluate()", err=True)
        raise click.exceptions.Exit(CHECK_FAILED)
