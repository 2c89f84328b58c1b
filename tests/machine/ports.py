"""Built-in machines with a narrower AXI port, or another memory behind it."""

from __future__ import annotations

import re
from pathlib import Path

from dataflow.resources import arch_dir


def narrow(name: str, bits: int, folder: Path, *, beats: int = 16, device: str = "") -> Path:
    """An architecture file as the built-in `name`, whose DRAM port has `bits` data bits.

    Args:
        beats: of its longest burst.
        device: the DRAM; none: ideal.
    """
    text = (arch_dir() / f"{name}.yaml").read_text(encoding="utf-8")
    whole = re.search(r"\n  dram:\n(?:    .*\n|\n)+", text)
    assert whole is not None
    dram = re.sub(r"(line_bits|bits_per_cycle): \d+", rf"\1: {bits}", whole[0])
    dram = re.sub(r"max_burst_beats: \d+", f"max_burst_beats: {beats}", dram)
    if device:
        dram = dram.replace("    bus:\n", f"    bus:\n      device: {device}\n")
    other = f"{name}_{bits}{device}"
    made = text.replace(whole[0], dram).replace(f"\nname: {name}\n", f"\nname: {other}\n")
    path = folder / f"{other}.yaml"
    path.write_text(made, encoding="utf-8")
    return path
