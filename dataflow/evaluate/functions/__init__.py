"""The function stage of the vector unit: its tables, its meaning, and what is made of it.

See ``docs/design/functions.md``.
"""

from dataflow.evaluate.functions import composed
from dataflow.evaluate.functions.stage import apply
from dataflow.evaluate.functions.tables import Function, Row, table

__all__ = ["Function", "Row", "apply", "composed", "table"]
