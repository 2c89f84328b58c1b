"""Port B of the activation memory: which clients are granted (header of `act_mem.sv`)."""

from __future__ import annotations

from dataflow.timing.compiled import Record, compiled
from dataflow.timing.layout import CLIENTS

MASK = (1 << 24) - 1


@compiled
def grants(w: Record) -> int:
    """Bits of the clients that are granted in this cycle: by priority, banks not taken."""
    act, sizes = w.act, w.sizes
    taken, granted = 0, 0
    for client in range(CLIENTS):
        if act.valid[client]:
            address = act.address[client] & MASK
            bank = (address >> sizes.shift) & (sizes.banks - 1)
            banks = 1 << bank
            if address & (sizes.line - 1):
                banks |= 1 << ((bank + 1) & (sizes.banks - 1))
            if not taken & banks:
                taken |= banks
                granted |= 1 << client
    return granted
