"""A job of the simulated machine: images, addresses, golden bytes, as files of one folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dataflow.machine import Machine
from dataflow.machine.isa import Counter
from dataflow.machine.program import Program, TensorPlace, tensors_address
from dataflow.machine.registers import register_map

CYCLES_PER_PREDICTED = 4  # a run this much longer than predicted is taken for a deadlock
SPARE_CYCLES = 2_000_000
DRAIN_CYCLES = 100_000  # from the limit to the end of a job that is given up; stalls included
PROGRESS_CYCLES = 1_000_000  # a clipped tile's rows pass in silence, 65,536 of them at most

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class JobAddresses:
    """Byte addresses in the simulated DRAM."""

    program: int
    tensors: int
    end: int

    @property
    def mem_bytes_log2(self) -> int:
        """Size of the memory model: at least 64 MiB, so that one build serves most programs."""
        return max(26, (self.end - 1).bit_length())


def addresses(program: Program) -> JobAddresses:
    """Program first, then the region of the tensors on a page boundary."""
    tensors = tensors_address(len(program.code))
    return JobAddresses(0, tensors, tensors + _words(program.dram_bytes))


def _words(size: int) -> int:
    return -(-size // 64) * 64


def pack_tensor(value: Array, place: TensorPlace) -> bytes:
    """Bytes of a tensor of codes in its physical layout."""
    codes = np.ascontiguousarray(np.transpose(value, place.layout))
    return codes.astype(np.int8 if place.signed else np.uint8).tobytes()


def unpack_tensor(data: bytes, place: TensorPlace) -> Array:
    """The tensor of codes of ``place`` from its physical bytes, int8 or uint8."""
    physical = [place.shape[i] for i in place.layout]
    codes = np.frombuffer(data, np.int8 if place.signed else np.uint8).reshape(physical)
    return np.transpose(codes, np.argsort(place.layout))


def start_writes(program: Program, job_limit: int) -> list[tuple[int, int]]:
    """The (register offset, value) that a driver writes to start a program in simulated DRAM."""
    where = addresses(program)
    first, last = program.write_region
    line = program.line_bytes
    return register_map().writes(
        {
            "program_low": where.program,
            "program_high": 0,
            "program_bytes": len(program.code),
            "tensor_low": where.tensors,
            "tensor_high": 0,
            "read_limit": _words(program.dram_bytes),
            "write_first": first // line * line,
            "write_limit": -(-last // line) * line,
            "job_limit": job_limit,
            "progress_limit": PROGRESS_CYCLES,
            "gie": 1,
            "ier": 1,
            "ctrl": 1,
        }
    )


def write_job(
    folder: Path,
    program: Program,
    machine: Machine,
    values: Mapping[str, Array],
    predicted_cycles: int,
) -> dict[str, Any]:
    """Writes `program.bin`, `dram.bin`, `golden/*.bin` and `job.json`; returns the job.

    Args:
        machine: what the program was made for; its DRAM latencies are those of the memory model.
        values: every tensor of the machine part by name (inputs, and the golden ones).
    """
    (folder / "golden").mkdir(parents=True, exist_ok=True)
    where = addresses(program)
    image = bytearray(_words(program.dram_bytes))
    image[program.image_base : program.image_base + len(program.image)] = program.image
    tensors = []
    for index, place in enumerate(sorted(program.tensors.values(), key=lambda p: p.dram)):
        if place.role == "input":
            data = pack_tensor(values[place.name], place)
            image[place.dram : place.dram + len(data)] = data
        # A copy that the lowering made has no tensor of the cascade; its readers are compared.
        if place.written and place.name in values:
            golden = Path("golden") / f"{index:04d}.bin"
            (folder / golden).write_bytes(pack_tensor(values[place.name], place))
            tensors.append({"name": place.name, "dram": place.dram, "golden": str(golden)})
    limit = CYCLES_PER_PREDICTED * predicted_cycles + SPARE_CYCLES
    first, last = program.write_region
    (folder / "program.bin").write_bytes(program.code)
    (folder / "dram.bin").write_bytes(bytes(image))
    job = {
        "program_address": where.program,
        "program_bytes": len(program.code),
        "writes": start_writes(program, limit),
        "counters_at": register_map().offset("counters"),
        "write_region": [where.tensors + first, where.tensors + last],
        "tensors_base": where.tensors,
        "dram_bytes": len(image),
        "mem_bytes_log2": where.mem_bytes_log2,
        "read_latency": machine.dram_read_latency,
        "write_latency": machine.dram_write_latency,
        "max_cycles": limit + DRAIN_CYCLES,
        "counters": [counter.name.lower() for counter in Counter],
        "dump": "dump.bin",
        "tensors": tensors,
    }
    (folder / "job.json").write_text(json.dumps(job, indent=1), encoding="utf-8")
    return job


def plusargs(folder: Path, job: Mapping[str, Any], stall: float, seed: int) -> list[str]:
    """Arguments of the simulator for a job folder."""
    return [
        f"+image0={folder / 'program.bin'}",
        f"+addr0={job['program_address']:x}",
        f"+image1={folder / 'dram.bin'}",
        f"+addr1={job['tensors_base']:x}",
        f"+dump_file={folder / job['dump']}",
        f"+trace_file={folder / 'trace.txt'}",
        f"+taps_file={folder / 'taps'}",
        f"+stall={round(1000 * stall)}",
        f"+seed={seed}",
    ]
