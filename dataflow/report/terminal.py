"""The terminal: a console that shows names as they are, a progress bar, a plain table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar
from rich.table import Table
from rich.text import Text

from dataflow.progress import Progress, silent
from dataflow.report.rows import printable

PIPE_WIDTH = 160
"""Columns when the output is a file or a pipe, which has no width of its own."""


def console(stderr: bool = False) -> Console:
    """A console without markup: ``[red]`` in the name of a layer is not an instruction."""
    made = Console(stderr=stderr, highlight=False, emoji=False, markup=False)
    if not made.is_terminal:
        made.width = max(made.width, PIPE_WIDTH)
    return made


@contextmanager
def progress_bar(title: str) -> Iterator[Progress]:
    """A progress bar on standard error when that is a terminal, silence otherwise."""
    made = console(stderr=True)
    if not made.is_terminal:
        yield silent
        return
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        TimeElapsedColumn(),
    )
    with Bar(*columns, console=made, transient=True) as bar:
        task = bar.add_task(title, total=None)

        def update(step: str, done: int, total: int) -> None:
            text = escape(printable(f"{title}: {step}"))
            bar.update(task, description=text, completed=done, total=total or None)

        yield update


def print_rows(rows: Sequence[Mapping[str, object]]) -> None:
    """Prints a table with one column for each key of the first row."""
    if not rows:
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for key in rows[0]:
        table.add_column(key.replace("_", " "), overflow="fold")
    for row in rows:
        table.add_row(*(Text(printable(_cell(value))) for value in row.values()))
    console().print(table)


def _cell(value: object) -> str:
    if isinstance(value, (tuple, list)):
        return ", ".join(map(str, value))
    return "" if value is None else str(value)
