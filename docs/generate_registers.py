"""Writes ``docs/registers.md``: ``python docs/generate_registers.py``."""

from __future__ import annotations

from pathlib import Path

from dataflow.emit.registers import markdown

if __name__ == "__main__":
    Path(__file__).with_name("registers.md").write_text(markdown(), encoding="utf-8")
