"""The rules of the generated files' Jinja environment."""

from __future__ import annotations

import pytest
from jinja2 import UndefinedError

from dataflow.emit import environment


def test_systemverilog_braces_are_text() -> None:
    text = "assign y = {{W{1'b0}}, x};  // 100 {% [[ #(.A(1))\n"
    assert environment("sv").from_string(text).render() == text


def test_values_and_line_statements() -> None:
    text = "module m;\n//% for n in names\n  wire <{ n }>;\n//% endfor\nendmodule\n"
    result = environment("sv").from_string(text).render(names=["a", "b"])
    assert result == "module m;\n  wire a;\n  wire b;\nendmodule\n"


def test_tcl_statements_are_tcl_comments() -> None:
    text = "#% if on\nset x <{ x }>\n#% endif\n//% if\n"
    assert environment("tcl").from_string(text).render(on=True, x=1) == "set x 1\n//% if\n"


def test_missing_name_is_an_error() -> None:
    with pytest.raises(UndefinedError, match="'absent' is undefined"):
        environment("sv").from_string("<{ absent }>").render()
