"""``python -m dataflow``: the command line."""

from dataflow.cli import main

main()
