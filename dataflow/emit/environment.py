"""The one Jinja environment of the generated files, and its rules.

Values stand in ``<{ name }>``; a line that starts with ``//%`` (``#%`` in the ``tcl`` dialect) is a
statement, which editors see as a comment. Both are free in SystemVerilog, C++ and TCL, where the
defaults of Jinja are not: ``{{W{1'b0}}, x}`` is legal SystemVerilog. A name that a template uses
and the view lacks is an error, never an empty string.
"""

from __future__ import annotations

from functools import cache
from typing import Literal

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from dataflow.resources import templates_dir

Dialect = Literal["sv", "hls", "tcl"]

_STATEMENT = {"sv": "//%", "hls": "//%", "tcl": "#%"}


@cache
def environment(dialect: Dialect) -> Environment:
    """The environment for the templates of one language, rooted at ``templates/``.

    Nothing is escaped: whoever builds a view lets no text of a model into it but checked
    identifiers.
    """
    return Environment(
        loader=FileSystemLoader(templates_dir()),
        undefined=StrictUndefined,
        autoescape=False,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        variable_start_string="<{",
        variable_end_string="}>",
        block_start_string="<%",
        block_end_string="%>",
        comment_start_string="<#",
        comment_end_string="#>",
        line_statement_prefix=_STATEMENT[dialect],
    )


def render(dialect: Dialect, name: str, view: object) -> str:
    """Renders ``templates/<dialect>/<name>.j2``, which sees the finished ``view`` as ``view``."""
    return environment(dialect).get_template(f"{dialect}/{name}.j2").render(view=view)
