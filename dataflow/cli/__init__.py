"""The command line: arguments, printing, exit codes; nothing else.

Exit codes: 0 done; 1 a check failed (a mismatch); 2 bad input or usage, with one message on
standard error and no traceback.
"""

# Importing them adds their commands to the group.
from dataflow.cli import cascades, explore, hardware, models, peers, residency  # noqa: F401
from dataflow.cli.entry import main, run
from dataflow.cli.shared import BAD_INPUT, CHECK_FAILED, cli

__all__ = ["BAD_INPUT", "CHECK_FAILED", "cli", "main", "run"]
