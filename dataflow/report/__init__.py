"""Result files, tables and the page of an output folder."""

from dataflow.report.page import Report, page_text, write_report
from dataflow.report.results import (
    Csim,
    Implementation,
    OutputError,
    Simulation,
    Summary,
    load_csim,
    load_implementation,
    load_simulation,
    load_summary,
    report_dir,
)
from dataflow.report.table import layer_table, print_report

__all__ = [
    "Csim",
    "Implementation",
    "OutputError",
    "Report",
    "Simulation",
    "Summary",
    "layer_table",
    "load_csim",
    "load_implementation",
    "load_simulation",
    "load_summary",
    "page_text",
    "print_report",
    "report_dir",
    "write_report",
]
