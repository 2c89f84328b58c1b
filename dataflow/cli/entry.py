"""The entry point: runs a command; every error is one message and an exit code."""

from __future__ import annotations

import logging
import sys
import traceback
import warnings
from collections.abc import Sequence
from typing import NoReturn

import click

from dataflow.cli.shared import BAD_INPUT, State, cli
from dataflow.errors import DataflowError


def run(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit code."""
    state = State()
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


def _fail(state: State, message: str) -> int:
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
