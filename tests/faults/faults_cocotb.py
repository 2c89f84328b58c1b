"""Runs a list of jobs, good and bad ones, on one machine without a reset between them.

The list (environment DATAFLOW_FAULTS, JSON) names the images on which the DRAM model's plusargs
stand, which are written anew for each job. Results go to a list beside it.
"""

from __future__ import annotations

import importlib
import json
import os
import zlib
from pathlib import Path
from typing import Any

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import First, ReadOnly, RisingEdge, Timer

_driver = importlib.import_module("test_accelerator")  # of templates/sim, which is no package
PERIOD_NS, read, write = _driver.PERIOD_NS, _driver.read, _driver.write

CLEAR = ("awvalid", "wvalid", "bready", "arvalid", "rready", "dump", "load", "fault")


class Bench:
    """The machine, its memory, and the files of both."""

    def __init__(self, dut: Any, spec: dict[str, Any], folder: Path) -> None:
        self.dut, self.spec, self.folder = dut, spec, folder
        self.dumped = 0

    async def cycles(self, count: int) -> None:
        if count > 0:
            await Timer(count * PERIOD_NS, unit="ns")
        await RisingEdge(self.dut.clk)

    async def reset(self, cycles: int, *, memory: bool) -> None:
        dut = self.dut
        for name in CLEAR:
            getattr(dut, name).value = 0
        dut.rst_n.value = 0
        if memory:
            dut.mem_rst_n.value = 0
        await self.cycles(cycles)
        dut.rst_n.value = 1
        dut.mem_rst_n.value = 1
        await RisingEdge(dut.clk)

    async def load(self, base: dict[str, Any], code: bytes) -> None:
        """The program and the tensors of a job, as they are before it."""
        (self.folder / "program.bin").write_bytes(code.ljust(-(-len(code) // 8) * 8, b"\0"))
        (self.folder / "dram.bin").write_bytes(Path(base["dram"]).read_bytes())
        self.dut.load.value = 1
        await RisingEdge(self.dut.clk)
        self.dut.load.value = 0
        await RisingEdge(self.dut.clk)

    async def dump(self, base: dict[str, Any]) -> bytes:
        dut = self.dut
        dut.dump_lo.value = base["tensors"]
        dut.dump_hi.value = base["tensors"] + base["bytes"]
        dut.dump.value = 1
        await RisingEdge(dut.clk)
        dut.dump.value = 0
        await RisingEdge(dut.clk)
        await RisingEdge(dut.clk)
        data = (self.folder / "dump.bin").read_bytes()[self.dumped :]
        self.dumped += len(data)
        assert len(data) == base["bytes"]
        return data

    async def run(self, base: dict[str, Any], job: dict[str, Any]) -> dict[str, Any]:
        """One job from its start to its end."""
        dut, registers = self.dut, self.spec["registers"]
        before = int(dut.outside.value), int(dut.protocol_errors.value)
        dut.read_lo.value, dut.read_hi.value = base["read"]
        dut.write_lo.value, dut.write_hi.value = base["write"]
        writes: dict[int, int] = dict(base["writes"])
        writes[registers["program_bytes"]] = len(bytes.fromhex(job["code"]))
        for name, value in job.get("registers", {}).items():
            writes[registers[name]] = value
        start = writes.pop(registers["ctrl"])
        for offset, value in writes.items():
            await write(dut, offset, value)
        await write(dut, registers["ctrl"], start)
        # The start is taken a cycle or two before its response.
        limit = Timer((writes[registers["job_limit"]] + self.spec["drain"]) * PERIOD_NS, unit="ns")
        finished = RisingEdge(dut.done)
        disturbance = cocotb.start_soon(self.disturb(job)) if "disturb" in job else None
        hung = await First(finished, limit) is not finished
        if disturbance is not None:
            await disturbance
        if hung:
            await ReadOnly()
            hung = not int(dut.done.value)
            await RisingEdge(dut.clk)
        result: dict[str, Any] = {"hung": hung}
        if not hung:
            for name in ("error", "cause", "ctrl"):
                result[name] = await read(dut, registers[name])
            result["cycles"] = await read(dut, registers["counters"])
            await write(dut, registers["isr"], 1)  # toggles the event that has come
            result["error_again"] = await read(dut, registers["error"])
            await self.cycles(job.get("wait", 0))
            result["idle"] = await read(dut, registers["ctrl"]) >> 2 & 1
        result["outside"] = int(dut.outside.value) - before[0]
        result["protocol"] = int(dut.protocol_errors.value) - before[1]
        return result

    async def disturb(self, job: dict[str, Any]) -> None:
        """What happens to the machine in the middle of a job."""
        dut, registers, what = self.dut, self.spec["registers"], job["disturb"]
        await self.cycles(what["cycle"])
        if what["kind"] == "fault":
            dut.fault.value = 1 << what["channel"]
            dut.fault_resp.value = what["response"]
            await RisingEdge(dut.done)
            dut.fault.value = 0
        elif what["kind"] == "start":
            for name in ("program_low", "tensor_low", "write_limit", "read_limit", "job_limit"):
                await write(dut, registers[name], 64)
            await write(dut, registers["ctrl"], 1)
        elif what["kind"] == "stop":
            await write(dut, registers["stop"], 1)
        elif what["kind"] == "silence":
            dut.mem_rst_n.value = 0  # forgets what it owes
            await self.cycles(3)
            dut.mem_rst_n.value = 1
        else:
            await self.reset(what["length"], memory=what["memory"])


@cocotb.test()
async def jobs(dut: Any) -> None:
    path = Path(os.environ["DATAFLOW_FAULTS"])
    spec = json.loads(path.read_text())
    bench = Bench(dut, spec, path.parent)
    Clock(dut.clk, PERIOD_NS, unit="ns").start()
    await bench.reset(20, memory=True)
    results = []
    goldens: dict[str, bytes] = {}
    for job in spec["jobs"]:
        base = spec["bases"][job["base"]]
        golden = goldens.setdefault(base["golden"], Path(base["golden"]).read_bytes())
        await bench.load(base, bytes.fromhex(job["code"]))
        result = {}
        if job.get("disturb", {}).get("kind") == "reset":
            result = await reset_in_job(bench, base, job)
        else:
            result = await bench.run(base, job)
            # A machine that does not answer to anything is reset, so that the others are judged.
            if result["hung"] or not result["idle"]:
                await bench.reset(20, memory=True)
        image = await bench.dump(base)
        result |= {"same": image == golden, "image": zlib.crc32(image)}
        await bench.load(base, Path(base["code"]).read_bytes())
        after = await bench.run(base, {"code": Path(base["code"]).read_bytes().hex()})
        after["same"] = await bench.dump(base) == golden
        results.append({**result, "next": after})
    path.with_name("results.json").write_text(json.dumps(results))


async def reset_in_job(bench: Bench, base: dict[str, Any], job: dict[str, Any]) -> dict[str, Any]:
    """Starts a job and resets the machine in it; the next job must wait for what is stale."""
    dut = bench.dut
    before = int(dut.outside.value), int(dut.protocol_errors.value)
    dut.read_lo.value, dut.read_hi.value = base["read"]
    dut.write_lo.value, dut.write_hi.value = base["write"]
    for offset, value in base["writes"]:
        await write(dut, offset, value)
    await bench.disturb(job)
    memory = job["disturb"]["memory"]
    return {
        "hung": False,
        "outside": 0 if memory else int(dut.outside.value) - before[0],
        "protocol": 0 if memory else int(dut.protocol_errors.value) - before[1],
    }
