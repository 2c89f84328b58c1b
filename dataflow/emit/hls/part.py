"""The device of an HLS project, by the name that AMD's tools give it."""

from __future__ import annotations

import re

from dataflow.errors import DataflowError

DEFAULT_PART = "xczu7ev-ffvc1156-2-e"
"""A ZCU104's; any with enough memory does."""

_FORM = re.compile(r"x[a-z0-9]{3,20}(-[a-z0-9]{1,20}){1,5}", re.IGNORECASE)


def check_part(part: str) -> str:
    """Returns ``part`` when it has the form of a part: device, package, speed grade.

    Only the form: which parts exist is known to the tool and its licence.

    Raises:
        DataflowError: it has not.
    """
    if _FORM.fullmatch(part) is None:
        raise DataflowError(
            "--part",
            f"{part!r} is no part of AMD's",
            f"give device, package and speed grade, such as {DEFAULT_PART} or xc7z020clg400-1",
        )
    return part
