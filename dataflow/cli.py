"""The command line: arguments, printing, exit codes; nothing else.

Exit codes: 0 done; 1 a check failed (a mismatch); 2 bad input or usage, with one message on
standard error and no traceback.
"""

from __future__ import annotations

import dataclasses
import logging
import sys
import traceback
import warnings
import webbrowser
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import click

from dataflow import __version__, api
from dataflow.errors import DataflowError
from dataflow.report import checks, results, terminal
from dataflow.report.rows import printable

CHECK_FAILED = 1
BAD_INPUT = 2

_F = TypeVar("_F", bound=Callable[..., Any])


@dataclass
class _State:
    """What the options that every command has say."""

    debug: bool = False


def _set_debug(context: click.Context, _: click.Parameter, value: bool) -> None:
    if value:
        context.ensure_object(_State).debug = True
        warnings.resetwarnings()
        logging.disable(logging.NOTSET)


_debug = click.option(
    "--debug",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_set_debug,
    help="Show tracebacks and warnings.",
)
_json = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
_dims = click.option(
    "--dim", "dims", multiple=True, metavar="NAME=N", help="Size of a dynamic dimension."
)
_arch_option = click.option(
    "--arch", default="edge16", show_default=True, help="Built-in name or YAML file."
)
_literal = click.option(
    "--literal",
    is_flag=True,
    help="Leave out the rewrites that change rounding (by one code, where only float rounding "
    "decides a tie).",
)
_host = click.option(
    "--host",
    type=click.Choice(["auto", "none", "contractions"]),
    default="auto",
    show_default=True,
    help="What the host may run at the ends: what the machine cannot; only quantise, dequantise "
    "and packing; contractions too.",
)
_keep_float = click.option(
    "--keep-float",
    type=click.Choice(["auto", "none"]),
    default="auto",
    show_default=True,
    help="Operators that int8 costs too much stay float; none does, whatever the ratio.",
)
_input = click.option(
    "--input", "input_file", metavar="X.npz", help="Arrays by input name (default: stored, seeded)."
)
_torch = click.option(
    "--torch", "torch_spec", metavar="FILE.py:FACTORY", help="Float torch module to compare with."
)


def _output(metavar: str, text: str) -> Callable[[_F], _F]:
    return click.option("-o", "--output", "out", required=True, metavar=metavar, help=text)


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    no_args_is_help=False,
)
@click.version_option(__version__, prog_name="dataflow")
@_debug
def cli() -> None:
    """Compile a quantised neural network onto a spatial accelerator, simulate it, compare."""


def _command(name: str) -> Callable[[Callable[..., None]], click.Command]:
    def wrap(function: Callable[..., None]) -> click.Command:
        return cli.command(name)(_debug(function))

    return wrap


# ---------------------------------------------------------------------------------------- commands


@_command("export")
@click.argument("spec", metavar="FILE.py:FACTORY")
@click.option("--opset", type=int, default=20, show_default=True, help="ONNX opset, 18 to 25.")
@_output("M.onnx", "The ONNX file to write.")
def _export(spec: str, opset: int, out: str) -> None:
    """Write a torch module as ONNX. FACTORY returns (module, example_inputs)."""
    click.echo(f"wrote {api.export(spec, out, opset)}")


@_command("quantize")
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
@_keep_float
@_arch_option
@_host
@click.option(
    "--min-snr",
    type=float,
    default=10.0,
    show_default=True,
    metavar="DB",
    help="Exit with 1 when the worst held-out sample is below; the file is written all the same.",
)
@_output("Q.onnx", "The ONNX file to write.")
@_json
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
        _print_json({**dataclasses.asdict(made), **told})
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


@_command("check")
@click.argument("model", metavar="M")
@_arch_option
@_host
@_literal
@click.option("--evaluate", "evaluates", is_flag=True, help="Ask only what evaluate can do.")
@_dims
@_json
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
    verdict = api.check(model, _parse_dims(dims), arch=arch, host=host, literal=literal)
    if as_json:
        _print_json(checks.verdict_json(verdict))
    else:
        checks.print_verdict(terminal.console(), verdict, api.stayed_float(verdict.nodes))
    if verdict.evaluates if evaluates or api.is_text(model) else verdict.compiles:
        return
    raise verdict.error()


@_command("evaluate")
@click.argument("model", metavar="M")
@click.option("--input", "input_file", required=True, metavar="X.npz", help="Inputs by name.")
@_dims
@_output("Y.npz", "File for the outputs by name.")
def _evaluate(model: str, input_file: str, dims: Sequence[str], out: str) -> None:
    """Run a model in the reference evaluator."""
    from dataflow.npz import save_npz

    outputs = api.evaluate(model, input_file, _parse_dims(dims))
    save_npz(Path(out), outputs)
    click.echo(f"wrote {out}: " + ", ".join(f"{n} {v.shape}" for n, v in outputs.items()))


@_command("passes")
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
@_json
def _passes(
    cascade: str,
    ranks: str,
    tensor: str,
    outer: Sequence[str],
    attention: tuple[int, int, int, int] | None,
    as_json: bool,
) -> None:
    """Count how often a fibre must be traversed; what is live meanwhile; the traffic."""
    tiles = _parse_sizes(outer, "--outer", "P=256")
    summary = api.passes(cascade, tensor, _split(ranks), outer=tiles, attention=attention)
    if as_json:
        _print_json(summary.json())
        return
    from dataflow.report import analyses

    analyses.print_summary(terminal.console(), summary)


@_command("rewrite")
@click.argument("cascade", metavar="C")
@click.option("--to", "names", required=True, metavar="NAME", help="Rewrite; several with commas.")
@click.option("--tile", type=int, metavar="N", help="Elements of a tile, for rewrites that tile.")
@_dims
@_output("D.yaml", "The text cascade to write (weights go into an .npz file beside it).")
@_json
def _rewrite(
    cascade: str, names: str, tile: int | None, dims: Sequence[str], out: str, as_json: bool
) -> None:
    """Apply named rewrites to a text cascade or an ONNX model.

    Says of each whether it is exact (the same bits) or changes rounding.
    """
    result = api.rewrite(cascade, _split(names), out, tile=tile, dims=_parse_dims(dims))
    count = len(result.cascade.einsums)
    if as_json:
        steps = [dataclasses.asdict(step) for step in result.steps]
        _print_json({"rewrites": steps, "einsums": count, "path": out})
        return
    for step in result.steps:
        click.echo(step.describe())
        for note in step.notes:
            click.echo(f"  {printable(note)}")
    if not any(step.changed for step in result.steps):
        click.echo("nothing was rewritten")
    click.echo(f"wrote {out}: {count} Einsums")


@_command("map")
@click.argument("workload", metavar="W")
@_arch_option
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
@_dims
@_output("M.yaml", "Mapping file to write; dataflow cost reads it.")
@_json
def _map(
    workload: str,
    arch: str,
    objective: str,
    fix: str | None,
    effort: int,
    perfect: bool,
    dims: Sequence[str],
    out: str,
    as_json: bool,
) -> None:
    """Find the best mapping of a text cascade or ONNX model on any architecture."""
    with terminal.progress_bar("map") as progress:
        result = api.map_model(
            workload,
            arch,
            _split(objective),
            out=out,
            fix=fix,
            effort=effort,
            perfect=perfect,
            dims=_parse_dims(dims),
            progress=progress,
        )
    if as_json:
        _print_json(result.json())
        return
    from dataflow.report import maps

    maps.print_map(terminal.console(), result.found, result.arch, result.objectives)


@_command("cost")
@click.argument("mapping", metavar="M.yaml")
@_arch_option
@_json
def _cost(mapping: str, arch: str, as_json: bool) -> None:
    """Cost a mapping file: exact accesses, energy, time and what bounds it."""
    result = api.cost(mapping, arch)
    if as_json:
        _print_json(result.json())
        return
    from dataflow.cost.stalls import stalled
    from dataflow.report import costs

    estimate = stalled(result.mapping, result.workload, result.arch)
    costs.print_cost(terminal.console(), result.cost, result.arch, estimate)


@_command("pack")
@click.argument("buffers", metavar="B.csv")
@click.option("--capacity", type=int, metavar="N", help="Bytes of the memory.")
@click.option(
    "--align", type=int, default=1, show_default=True, help="All offsets are multiples of it."
)
@click.option("--minimize", is_flag=True, help="Look for the least capacity, with a lower bound.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the search.")
@click.option("--bank-bytes", type=int, metavar="N", help="Bytes of a bank, for bank groups.")
@click.option("--effort", type=int, metavar="N", help="Decisions before the search gives up.")
@_output("O.csv", "The file to write: id,lower,upper,size,offset.")
@_json
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
        _print_json(
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


@_command("compile")
@click.argument("model", metavar="M.onnx")
@_arch_option
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
@_keep_float
@_host
@_literal
@_dims
@click.option("--part", metavar="P", help="Device of the HLS project (default: a ZCU104's).")
@_torch
@_output("OUT", "Folder of the project; replaced whole when it is ours.")
@_json
def _compile(
    model: str,
    arch: str,
    targets: str,
    objective: str,
    calibrate: str | None,
    keep_float: Any,
    host: Any,
    literal: bool,
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
            targets=_split(targets),
            objective=_split(objective),
            calibrate=calibrate,
            dims=_parse_dims(dims),
            torch_spec=torch_spec,
            part=part,
            host=host,
            literal=literal,
            keep_float=keep_float,
            progress=progress,
        )
    if as_json:
        _print_file(out, "summary.json")
        return
    from dataflow.report import print_report

    print_report(terminal.console(), summary, None, None)
    if summary.changed_rounding():
        click.echo(f"{summary.changed_rounding()}; --literal leaves it out")
    click.echo(f"wrote {out}")


@_command("simulate")
@click.argument("out", metavar="OUT")
@_input
@click.option(
    "--stall",
    type=float,
    default=0.0,
    show_default=True,
    help="Probability that an AXI handshake is refused.",
)
@click.option("--waves", is_flag=True, help="Record a waveform, OUT/sim/run/dump.vcd.")
@_torch
@_json
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
        _print_file(out, "simulation.json")
    else:
        _print_tables(out)
        if waves:
            click.echo(f"wrote {Path(out, 'sim', 'run', 'dump.vcd')}")
    _exit_for_self_test(result.self_test)
    _exit_for(result.mismatches)


@_command("csim")
@click.argument("out", metavar="OUT")
@_input
@_json
def _csim(out: str, input_file: str | None, as_json: bool) -> None:
    """Build and run the HLS project with g++ and compare it with evaluate()."""
    with terminal.progress_bar("csim") as progress:
        result = api.csim(out, input=input_file, progress=progress)
    if as_json:
        _print_file(out, "csim.json")
    else:
        _print_tables(out)
    _exit_for(result.mismatches)


@_command("implement")
@click.argument("out", metavar="OUT")
@click.option("--device", required=True, metavar="D", help="ecp5-85k, gw2a-18, xc7z020, ...")
@_json
def _implement(out: str, device: str, as_json: bool) -> None:
    """Synthesise the RTL for a device; place, route and pack it where open tools can."""
    with terminal.progress_bar("implement") as progress:
        result = api.implement(out, device, progress=progress)
    if as_json:
        _print_file(out, "implementation.json")
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


@_command("report")
@click.argument("out", metavar="OUT")
@click.option("--open", "show", is_flag=True, help="Open the page in a browser.")
@_json
def _report(out: str, show: bool, as_json: bool) -> None:
    """Write the report page and print its tables."""
    from dataflow.report import print_report

    result = api.report(out)
    if as_json:
        parts = {"summary": result.summary, "simulation": result.simulation, "csim": result.csim}
        dumped = {k: None if v is None else v.model_dump() for k, v in parts.items()}
        _print_json({"page": str(result.page), **dumped})
    else:
        print_report(terminal.console(), result.summary, result.simulation, result.csim)
        click.echo(f"wrote {result.page}")
    if show:
        webbrowser.open(result.page.resolve().as_uri())


@_command("arch")
@click.argument("name", required=False)
@click.option("--source", is_flag=True, help="Print the YAML file, to start one of your own.")
@_json
def _arch(name: str | None, source: bool, as_json: bool) -> None:
    """List the built-in architectures, or show one (a name or a YAML file)."""
    from dataflow.arch import architecture_path, builtin_names, load_architecture
    from dataflow.report import machines

    if name is None:
        if source:
            raise DataflowError("--source", "needs the name of an architecture", "give one")
        all_of_them = [load_architecture(item) for item in builtin_names()]
        if as_json:
            _print_json([machines.architecture_json(item) for item in all_of_them])
        else:
            terminal.console().print(machines.architecture_list(all_of_them))
        return
    architecture = load_architecture(name)
    if source:
        click.echo(architecture_path(name).read_text(encoding="utf-8"), nl=False)
    elif as_json:
        _print_json(machines.architecture_json(architecture))
    else:
        console = terminal.console()
        console.print(machines.architecture_tree(architecture))
        refused = machines.buildable(architecture)[1]
        if refused:
            console.print(refused, markup=False, highlight=False, style="yellow")


# ----------------------------------------------------------------------------------------- helpers


def _split(text: str) -> tuple[str, ...]:
    return tuple(item.strip() for item in text.split(",") if item.strip())


def _parse_dims(items: Sequence[str]) -> dict[str, int]:
    return _parse_sizes(items, "--dim", "N=1")


def _parse_sizes(items: Sequence[str], option: str, example: str) -> dict[str, int]:
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


def _print_json(value: object) -> None:
    click.echo(api.to_json(value), nl=False)


def _print_file(out: str, name: str) -> None:
    click.echo((Path(out) / "report" / name).read_text(encoding="utf-8"), nl=False)


def _print_tables(out: str) -> None:
    from dataflow.report import load_csim, load_simulation, load_summary, print_report

    folder = Path(out)
    print_report(
        terminal.console(), load_summary(folder), load_simulation(folder), load_csim(folder)
    )


def _exit_for_self_test(found: results.SelfTestResult | None) -> None:
    if found is not None and (found.mismatches or found.cycle_errors):
        click.echo(
            f"the self-test of this hardware fails: {found.mismatches} bytes of its micro-networks "
            f"differ from evaluate(), {found.cycle_errors} runs miss their predicted cycles"
            + "".join(f"\n  {name}" for name in found.wrong[:10]),
            err=True,
        )
        raise click.exceptions.Exit(CHECK_FAILED)


def _exit_for(mismatches: int) -> None:
    if mismatches:
        click.echo(f"{mismatches} mismatches with evaluate()", err=True)
        raise click.exceptions.Exit(CHECK_FAILED)


def run(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit code."""
    state = _State()
    try:
        code = cli.main(
            args=None if arguments is None else list(arguments),
            prog_name="dataflow",
            standalone_mode=False,
            obj=state,
        )
        sys.stdout.flush()  # now, while a full disk behind it can still be told
        return code if isinstance(code, int) else 0
    except DataflowError as error:
        return _fail(state, str(error))
    except click.UsageError as error:
        command = error.ctx.command_path if error.ctx else "dataflow"
        text = error.format_message().rstrip(".")
        return _fail(state, f"{command}: {text}; see {command} --help")
    except click.ClickException as error:
        return _fail(state, error.format_message())
    except (click.Abort, KeyboardInterrupt):
        return _fail(state, "interrupted; nothing was written")
    except BrokenPipeError:
        sys.stdout = None  # nobody reads: no second failure at exit
        return 0
    except OSError as error:  # files are the business of the commands: only printing is left
        sys.stdout = None
        reason = error.strerror or type(error).__name__
        return _fail(state, f"standard output: cannot be written ({reason}); free some space")
    except Exception as error:  # our own bug: still one message, the traceback on request
        text = f"{type(error).__name__}: {error}".splitlines()[0]
        return _fail(state, f"internal error: {text}; run again with --debug and report it")


def _fail(state: _State, message: str) -> int:
    if state.debug:
        traceback.print_exc()
    click.echo(f"error: {message}", err=True)
    return BAD_INPUT


def main() -> NoReturn:
    """Entry point of the ``dataflow`` command."""
    # What libraries say about themselves is not the user's business; --debug shows it.
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    sys.exit(run())
