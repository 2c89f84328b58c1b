"""What `check` prints: a table of operators, the refusals with their fixes, the host's work."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from rich.console import Console

from dataflow.report import terminal
from dataflow.report.rows import printable
from dataflow.units import format_bytes

if TYPE_CHECKING:
    from dataflow.decide import NodeDecision, Verdict

KEYS = ("name", "operator", "shape", "runs", "where", "reason", "fix")
"""Keys of a node in JSON."""

COLUMNS = (
    "name", "operator", "shape", "how", "runs", "where", "lowered", "macs", "arithmetic", "note",
)  # fmt: skip


def verdict_json(verdict: Verdict) -> dict[str, object]:
    """The verdict under the keys of the contract, and what the host does."""
    host = verdict.host
    return {
        "compiles": verdict.compiles,
        "evaluates": verdict.evaluates,
        "nodes": [{key: getattr(row, key) for key in KEYS} for row in verdict.nodes],
        "host": {
            "operations": host.operations,
            "bytes": host.bytes,
            "share": host.share,
            "parts": [asdict(part) for part in host.parts],
        },
    }


def print_verdict(console: Console, verdict: Verdict, floats: Sequence[NodeDecision]) -> None:
    """The operators, what is refused and why, and what the host does."""
    if verdict.evaluates:
        terminal.print_rows([{key: getattr(r, key) for key in COLUMNS} for r in verdict.nodes])
    if verdict.refusals:
        keys = ("name", "operator", "shape", "reason", "fix")
        terminal.print_rows([{key: getattr(r, key) for key in keys} for r in verdict.refusals])
    if floats:
        names = ", ".join(f"{row.name} ({row.operator})" for row in floats)
        console.print(printable(f"stayed float: {names}"))
    host = verdict.host
    if host.bytes:
        console.print(
            f"host: {host.operations} operations on {format_bytes(host.bytes)}, "
            f"{100 * host.share:.2f} % of the arithmetic"
        )
        terminal.print_rows([asdict(part) for part in host.parts])
    if verdict.warning:
        console.print(f"warning: {verdict.warning}")
