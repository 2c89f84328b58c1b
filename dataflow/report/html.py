"""The Jinja environment of the page. Every value is escaped: names in a model are not trusted.

Apart from the environment of generated code (dataflow/emit), which must not escape.
"""

from __future__ import annotations

from functools import cache

import jinja2

from dataflow.resources import templates_dir


@cache
def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(templates_dir()),
        undefined=jinja2.StrictUndefined,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def render_html(template: str, **view: object) -> str:
    """``templates/<template>`` filled with ``view``; a name that ``view`` lacks is an error."""
    return _environment().get_template(template).render(**view)
