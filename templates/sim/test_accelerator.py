"""Runs one job on the simulated accelerator and compares every tensor that the job wrote to DRAM.

The job file (environment DATAFLOW_JOB, default job.json beside this file) names the images, the
addresses and, per tensor, the golden bytes. Results go to result.json beside the job file.
"""

import json
import os
from pathlib import Path

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import First, RisingEdge, Timer

JOB = Path(os.environ.get("DATAFLOW_JOB", str(Path(__file__).with_name("job.json"))))
PERIOD_NS = 2


async def write(dut, address, value):
    """One AXI4-Lite write."""
    dut.awaddr.value = address
    dut.wdata.value = value
    dut.awvalid.value = 1
    dut.wvalid.value = 1
    dut.bready.value = 1
    pending = {"aw", "w", "b"}
    while pending:
        await RisingEdge(dut.clk)
        if "aw" in pending and int(dut.awready.value):
            pending.discard("aw")
            dut.awvalid.value = 0
        if "w" in pending and int(dut.wready.value):
            pending.discard("w")
            dut.wvalid.value = 0
        if int(dut.bvalid.value):
            pending.discard("b")
    dut.bready.value = 0


async def read(dut, address):
    """One AXI4-Lite read."""
    dut.araddr.value = address
    dut.arvalid.value = 1
    dut.rready.value = 1
    while True:
        await RisingEdge(dut.clk)
        if int(dut.arready.value):
            dut.arvalid.value = 0
        if int(dut.rvalid.value):
            value = int(dut.rdata.value)
            break
    dut.rready.value = 0
    return value


@cocotb.test()
async def job(dut):
    """Program, start, wait for the interrupt, read the counters, compare."""
    spec = json.loads(JOB.read_text())
    for name in (
        "awvalid",
        "wvalid",
        "bready",
        "arvalid",
        "rready",
        "dump",
        "rst_n",
        "mem_rst_n",
        "load",
        "fault",
    ):
        getattr(dut, name).value = 0
    Clock(dut.clk, PERIOD_NS, unit="ns").start()
    for _ in range(20):  # 16 and more reset the bus too
        await RisingEdge(dut.clk)
    dut.rst_n.value = 1
    dut.mem_rst_n.value = 1
    await RisingEdge(dut.clk)
    lo, hi = spec["write_region"]
    dut.read_lo.value, dut.read_hi.value = (
        spec["tensors_base"],
        spec["tensors_base"] + spec["dram_bytes"],
    )
    dut.write_lo.value, dut.write_hi.value = lo, hi
    for address, value in spec["writes"]:
        await write(dut, address, value)
    limit = Timer(spec["max_cycles"] * PERIOD_NS, unit="ns")
    finished = RisingEdge(dut.done)
    assert await First(finished, limit) is finished, f"no end in {spec['max_cycles']} cycles"
    counters = [await read(dut, spec["counters_at"] + 4 * i) for i in range(len(spec["counters"]))]
    dut.dump_lo.value = spec["tensors_base"]
    dut.dump_hi.value = spec["tensors_base"] + spec["dram_bytes"]
    dut.dump.value = 1
    await RisingEdge(dut.clk)
    dut.dump.value = 0
    for _ in range(4):
        await RisingEdge(dut.clk)
    result = {
        "counters": dict(zip(spec["counters"], counters, strict=True)),
        "protocol_errors": int(dut.protocol_errors.value),
        "hazards": int(dut.hazards.value),
        "outside": int(dut.outside.value),
        "program_beats": int(dut.program_beats.value),
        "mismatches": {},
    }
    image = (JOB.parent / spec["dump"]).read_bytes()
    for tensor in spec["tensors"]:
        golden = (JOB.parent / tensor["golden"]).read_bytes()
        got = image[tensor["dram"] : tensor["dram"] + len(golden)]
        result["mismatches"][tensor["name"]] = sum(a != b for a, b in zip(got, golden, strict=True))
    JOB.with_name("result.json").write_text(json.dumps(result, indent=1))
    assert result["protocol_errors"] == 0, "AXI protocol errors"
    assert result["outside"] == 0, "the machine left the regions of its job"
    assert result["counters"]["errors"] == 0, "the machine ended the job with an error"
    assert not any(result["mismatches"].values()), f"mismatches: {result['mismatches']}"
