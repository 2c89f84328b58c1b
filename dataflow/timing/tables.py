"""The program as arrays of records: what the engines of the model read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dataflow.machine import isa
from dataflow.machine.decode import Decoded, Fields, decode, fixed_beats, unpack
from dataflow.machine.isa import Field, Operand, Struct, Unit
from dataflow.timing import bus
from dataflow.timing.layout import WORD
from dataflow.timing.lines import COMPUTES, DEPENDS, SINKS, USES_S0, USES_S1

Ints = NDArray[np.int64]
OP_BYTES = isa.MICRO_OP.bits // 8
TABLE_BYTES = 256


def dtype_of(struct: Struct) -> np.dtype[np.void]:
    """The record type of an instruction format: every field a 64-bit integer or an array."""
    fields: list[Any] = []
    for member in struct.members:
        if not isinstance(member, Field):
            fields.append((member[0], dtype_of(member[1])))
        elif member.count > 1:
            fields.append((member.name, WORD, (member.count,)))
        else:
            fields.append((member.name, WORD))
    return np.dtype(fields)


def _row(struct: Struct, fields: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(
        fields[member.name] if isinstance(member, Field) else _row(member[1], fields[member[0]])
        for member in struct.members
    )


@dataclass(frozen=True)
class Tables:
    """A program for the model.

    Attributes:
        program: unit (`bus.END`: the end) and beats of each instruction, in program order.
        beats: beats of the instructions of each unit.
        load, array, vector, store: their fields, one record each.
        programs: per vector instruction beats of micro-operations, beats of the table, first
            micro-operation in `ops`, how many, the last that reads S0 (S1).
        ops: flags of the micro-operations of all vector instructions.
    """

    program: Ints
    beats: tuple[Ints, Ints, Ints, Ints]
    load: NDArray[np.void]
    array: NDArray[np.void]
    vector: NDArray[np.void]
    store: NDArray[np.void]
    programs: Ints
    ops: Ints


def tables(code: bytes, line_bytes: int) -> Tables:
    """The tables of a packed program; raises `ValueError` as `decode.decode`."""
    order: list[tuple[int, int]] = []
    units: dict[Unit, list[Decoded]] = {unit: [] for unit in list(Unit)[:4]}
    for instruction in decode(code, line_bytes):
        if instruction.unit is Unit.END:
            order.append((bus.END, 1))
            break
        order.append((int(instruction.unit), instruction.fields["header"]["beats"]))
        units[instruction.unit].append(instruction)
    programs, ops = _programs(units[Unit.VECTOR], line_bytes)

    def records(unit: Unit, struct: Struct) -> NDArray[np.void]:
        rows = [_row(struct, instruction.fields) for instruction in units[unit]]
        return np.array(rows, dtype=dtype_of(struct))

    return Tables(
        program=np.array(order, dtype=WORD),
        beats=tuple(  # type: ignore[arg-type]
            np.array([d.fields["header"]["beats"] for d in units[unit]], dtype=WORD)
            for unit in units
        ),
        load=records(Unit.LOAD, isa.LOAD),
        array=records(Unit.ARRAY, isa.ARRAY),
        vector=records(Unit.VECTOR, isa.VECTOR),
        store=records(Unit.STORE, isa.STORE),
        programs=programs,
        ops=ops,
    )


def fixed(line_bytes: int) -> tuple[int, ...]:
    """Beats of the fixed fields, by unit."""
    return tuple(fixed_beats(unit, line_bytes) for unit in list(Unit)[:4])


def _programs(instructions: list[Decoded], line_bytes: int) -> tuple[Ints, Ints]:
    rows: list[tuple[int, ...]] = []
    flags: list[int] = []
    for instruction in instructions:
        f = instruction.fields
        count = f["ops_init"] + f["ops_body"] + f["ops_final"]
        ops = [
            unpack(
                isa.MICRO_OP,
                int.from_bytes(instruction.payload[at : at + OP_BYTES], "little"),
            )
            for at in range(0, OP_BYTES * count, OP_BYTES)
        ]
        own = [_flags(op) for op in ops]
        readers = [
            max((i for i in range(count) if own[i] & uses), default=count - 1)
            for uses in (USES_S0, USES_S1)
        ]
        beats = -(-OP_BYTES * count // line_bytes)
        lookup = TABLE_BYTES // line_bytes if f["table"] else 0
        rows.append((beats, lookup, len(flags), count, *readers))
        flags += own
    return np.array(rows, dtype=WORD).reshape(-1, 6), np.array(flags, dtype=WORD)


def _flags(op: Fields) -> int:
    reads = {op["a"], op["b"], op["c"]}
    flags = USES_S0 if Operand.S0 in reads else 0
    flags |= USES_S1 if Operand.S1 in reads else 0
    flags |= DEPENDS if op["depends"] else 0
    flags |= COMPUTES if op["function"] else 0
    return flags | (SINKS if op["sink"] else 0)
