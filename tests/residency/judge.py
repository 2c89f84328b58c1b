"""The judge of a residency plan: it runs the plan's document byte for byte.

It knows the document and nothing of the planner. A scratchpad of bytes says of each byte which byte
of which tensor it holds; masks say what of each tensor DRAM holds. Every step does what the plan
says, what it reads has to be somewhere, and its cycles are counted anew. A steady plan runs twice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Mask = npt.NDArray[np.bool_]
Record = Mapping[str, Any]
FREE = -1


class IllegalError(Exception):
    """The plan does something that cannot be done, or counts wrongly."""


def judge(plan: Record) -> int:
    """The cycles of a plan's document; raises IllegalError."""
    return _Run(plan).cycles()


class _Run:
    def __init__(self, plan: Record) -> None:
        self.plan = plan
        self.steps: Sequence[Record] = plan["steps"]
        self.size = {t["name"]: t["bytes"] for t in plan["tensors"]}
        self.kind = {t["name"]: t["kind"] for t in plan["tensors"]}
        self.first: dict[str, int] = {}
        at = 0
        for name, size in self.size.items():  # each byte of each tensor has a number
            self.first[name] = at
            at += size
        self.memory = np.full(plan["machine"]["capacity"], FREE, np.int64)
        self.dram: dict[str, Mask] = {}
        for region in plan["regions"]:
            self._inside(region)

    def _inside(self, region: Record) -> None:
        low = self.plan["machine"]["stream_bytes"]
        offset, word = region["offset"], self.plan["machine"]["word"]
        end = offset + region["high"] - region["low"]
        if not 0 <= region["low"] < region["high"] <= self.size[region["tensor"]]:
            raise IllegalError(f"{region} is no part of its tensor")
        if offset < low or end > len(self.memory) or (offset - low) % word:
            raise IllegalError(f"{region} is outside the memory or not aligned")

    def cycles(self) -> int:
        steady = self.plan["steady"]
        total = self._network(first=True)
        if steady:
            self._keep_for_next_run()
            total = self._network(first=False)
        for tensor in self.plan["tensors"]:
            if tensor["output"] and not self.dram[tensor["name"]].all():
                raise IllegalError(f"output {tensor['name']} is not in DRAM at the end")
        if total != self.plan["cycles"]:
            raise IllegalError(f"{total} cycles, the plan says {self.plan['cycles']}")
        return total

    def _keep_for_next_run(self) -> None:
        kept = np.full_like(self.memory, FREE)
        for region in self._regions(0):
            place, numbers = self._place(region), self._numbers(region)
            if (self.memory[place] == numbers).all():
                kept[place] = numbers
        self.memory = kept

    def _network(self, first: bool) -> int:
        self.dram = {
            name: np.full(size, self.kind[name] != "activation") for name, size in self.size.items()
        }
        total = 0
        for u, step in enumerate(self.steps):
            moved = self._step(u, step, first)
            if moved != step["bytes"] and not (first and self.plan["steady"]):
                raise IllegalError(f"step {u} moves {moved} bytes, the plan says {step['bytes']}")
            cycles = max(step["compute_cycles"], -(-moved // self.plan["machine"]["port_bytes"]))
            if cycles != step["cycles"] and not (first and self.plan["steady"]):
                raise IllegalError(f"step {u} takes {cycles} cycles, not {step['cycles']}")
            total += cycles
        return total

    def _regions(self, u: int) -> list[Record]:
        return [r for r in self.plan["regions"] if r["start"] <= u < r["end"]]

    def _place(self, region: Record) -> slice:
        return slice(region["offset"], region["offset"] + region["high"] - region["low"])

    def _numbers(self, region: Record) -> npt.NDArray[np.int64]:
        base = self.first[region["tensor"]]
        return np.arange(base + region["low"], base + region["high"])

    def _on_chip(self, u: int, name: str) -> Mask:
        """Bytes of a tensor that the scratchpad holds where the plan says."""
        found = np.zeros(self.size[name], bool)
        for region in self._regions(u):
            if region["tensor"] == name:
                there = self.memory[self._place(region)] == self._numbers(region)
                found[region["low"] : region["high"]] |= there
        return found

    def _step(self, u: int, step: Record, first: bool) -> int:
        moves = [t for t in self.plan["transfers"] if t["step"] == u]
        before = {a["tensor"]: self._on_chip(u, a["tensor"]) for a in step["reads"]}
        passing = {a["tensor"]: np.zeros(self.size[a["tensor"]], bool) for a in step["reads"]}
        moved = self._enter(u, step, moves, first, passing)
        for t in moves:
            name, bytes_ = t["tensor"], slice(t["low"], t["high"])
            moved += (t["high"] - t["low"]) * t["times"]
            if t["move"] in ("load", "stream in") and not self.dram[name][bytes_].all():
                raise IllegalError(f"step {u} takes bytes of {name} that DRAM does not hold")
            if t["move"] == "stream in" or (t["move"] == "load" and name in passing):
                passing[name][bytes_] = True
        for access in step["reads"]:
            name = access["tensor"]
            if not (before[name] | passing[name]).all():
                raise IllegalError(f"step {u} reads bytes of {name} that are nowhere")
            times = {t["times"] for t in moves if (t["move"], t["tensor"]) == ("stream in", name)}
            if times - {access["times"]}:
                raise IllegalError(f"step {u} streams {name} {times} times")
        for t in moves:
            name, bytes_ = t["tensor"], slice(t["low"], t["high"])
            if t["move"] == "stream out" and name not in step["writes"]:
                raise IllegalError(f"step {u} streams {name} out, which it does not make")
            if t["move"] == "write back" and not self._on_chip(u, name)[bytes_].all():
                raise IllegalError(f"step {u} writes back bytes of {name} that are not on chip")
            if t["move"] in ("stream out", "write back"):
                self.dram[name][bytes_] = True
        for name in step["writes"]:
            if self._wanted(u, name) and not (self._on_chip(u, name) | self.dram[name]).all():
                raise IllegalError(f"step {u} makes bytes of {name} that go nowhere")
        self._leave(u)
        return moved

    def _enter(
        self,
        u: int,
        step: Record,
        moves: Sequence[Record],
        first: bool,
        passing: Mapping[str, Mask],
    ) -> int:
        """Gives their places to regions that begin; bytes that a first run has to load besides."""
        besides = 0
        for region in self._regions(u):
            name, place, numbers = region["tensor"], self._place(region), self._numbers(region)
            if region["start"] < u or (self.memory[place] == numbers).all():
                if not (self.memory[place] == numbers).all():
                    raise IllegalError(f"step {u}: {name} was overwritten")
                continue
            olds = [old for new, old in step["in_place"] if new == name]
            free = self.memory[place] == FREE
            for old in olds:
                free |= self.memory[place] == numbers - self.first[name] + self.first[old]
            if not free.all():
                raise IllegalError(f"step {u}: {name} overwrites what is alive")
            if name not in step["writes"]:
                loaded = np.zeros(self.size[name], bool)
                for t in moves:
                    if (t["move"], t["tensor"]) == ("load", name):
                        loaded[t["low"] : t["high"]] = True
                if not loaded[region["low"] : region["high"]].all():
                    if not (
                        first and self.plan["steady"] and self.kind[name] == "weight" and not u
                    ):
                        raise IllegalError(f"step {u}: bytes of {name} come from nowhere")
                    besides += region["high"] - region["low"]
                    if name in passing:
                        passing[name][region["low"] : region["high"]] = True
            self.memory[place] = numbers
        return besides

    def _leave(self, u: int) -> None:
        for region in self._regions(u):
            stays = self.plan["steady"] and self.kind[region["tensor"]] == "weight"
            if region["end"] == u + 1 and not (stays and u + 1 == len(self.steps)):
                place = self._place(region)
                self.memory[place][self.memory[place] == self._numbers(region)] = FREE

    def _wanted(self, u: int, name: str) -> bool:
        read = any(a["tensor"] == name for s in self.steps[u + 1 :] for a in s["reads"])
        return read or any(t["output"] for t in self.plan["tensors"] if t["name"] == name)
