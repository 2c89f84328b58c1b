"""The machine in time: every engine, FIFO and bus as a state that steps once a cycle.

Written from the documented timing (`docs/design/machine.md` and the headers of the modules under
`hw/rtl`), without data: it knows addresses, sizes and times, no values.
"""

from dataflow.timing.run import Outcome, simulate

__all__ = ["Outcome", "simulate"]
