"""Buffers as a CSV file: reading with messages that name the line, writing with offsets."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from dataflow.errors import DataflowError
from dataflow.memory.plan import Buffer, Offsets

REQUIRED = ("id", "lower", "upper", "size")
OPTIONAL = ("align", "gap", "fixed_offset", "bank_group")

MOST = 1 << 53
"""No number in a file is larger."""

_NUMBER = re.compile(r"[+-]?[0-9]{1,18}")
_HOLE = re.compile(r"([0-9]{1,18})-([0-9]{1,18})")


def read_buffers(
    path: Path, capacity: int | None = None, align: int = 1, bank_bytes: int | None = None
) -> list[Buffer]:
    """The buffers of a CSV file with the columns `id,lower,upper,size` and optional ones.

    `align`: bytes. `gap`: bytes kept free behind the buffer, or the steps `a-b` of its life (half
    open, several with spaces) in which its bytes are free. `fixed_offset`: bytes. `bank_group`:
    names with spaces between them; buffers of one group that live together share no bank. An empty
    field stands for nothing asked.

    Args:
        capacity, align, bank_bytes: of the memory, where known, for what a line must respect.

    Raises:
        DataflowError: naming the file and the line.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataflowError(str(path), "is not text in UTF-8", "give a CSV file") from error
    rows = csv.reader(io.StringIO(text, newline=""), strict=True)
    found: list[Buffer] = []
    lines: dict[str, int] = {}
    fixed: list[tuple[int, Buffer]] = []
    columns: list[str] | None = None
    while True:
        line = rows.line_num + 1
        try:
            row = next(rows, None)
        except csv.Error as error:
            raise _wrong(path, line, f"is malformed ({error})", "quote fields as CSV does") from (
                error
            )
        if row is None:
            break
        if not any(field.strip() for field in row):
            continue
        if columns is None:
            columns = _header(path, line, row)
            continue
        if len(row) != len(columns):
            raise _wrong(
                path,
                line,
                f"has {len(row)} fields, the header has {len(columns)}",
                f"give {','.join(columns)}",
            )
        buffer = _buffer(path, line, dict(zip(columns, row, strict=True)))
        _fits(path, line, buffer, capacity, align, bank_bytes)
        if buffer.name in lines:
            raise _wrong(
                path,
                line,
                f"id {buffer.name!r} is that of line {lines[buffer.name]} too",
                "give each buffer its own",
            )
        lines[buffer.name] = line
        if buffer.fixed is not None:
            for other_line, other in fixed:
                _fixed_apart(path, line, buffer, other_line, other)
            fixed.append((line, buffer))
        found.append(buffer)
    if columns is None:
        raise DataflowError(str(path), "is empty", f"begin with the line {','.join(REQUIRED)}")
    return found


def write_offsets(buffers: Sequence[Buffer], offsets: Offsets) -> bytes:
    """CSV text `id,lower,upper,size,offset`, in the order of `buffers`."""
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([*REQUIRED, "offset"])
    writer.writerows([b.name, b.start, b.end, b.size, offsets[b.name]] for b in buffers)
    return out.getvalue().encode()


def _wrong(path: Path, line: int, what: str, fix: str) -> DataflowError:
    return DataflowError(f"{path}: line {line}", what, fix)


def _header(path: Path, line: int, row: Sequence[str]) -> list[str]:
    columns = [field.strip() for field in row]
    missing = [name for name in REQUIRED if name not in columns]
    if missing:
        raise _wrong(
            path,
            line,
            f"lacks the column {missing[0]}",
            f"begin with the line {','.join(REQUIRED)}",
        )
    for i, name in enumerate(columns):
        if name not in (*REQUIRED, *OPTIONAL):
            known = ", ".join((*REQUIRED, *OPTIONAL))
            raise _wrong(path, line, f"has the unknown column {name!r}", f"use {known}")
        if name in columns[:i]:
            raise _wrong(path, line, f"has the column {name} twice", "keep one")
    return columns


def _number(path: Path, line: int, column: str, text: str) -> int:
    if not _NUMBER.fullmatch(text):
        raise _wrong(path, line, f"{column} is {text!r}", "give a whole number")
    value = int(text)
    if abs(value) > MOST:
        raise _wrong(path, line, f"{column} is {value}", f"numbers go to {MOST}")
    return value


def _buffer(path: Path, line: int, row: Mapping[str, str]) -> Buffer:
    row = {name: text.strip() for name, text in row.items()}
    if not row["id"]:
        raise _wrong(path, line, "has no id", "give the buffer a name of its own")
    lower, upper, size = (_number(path, line, name, row[name]) for name in REQUIRED[1:])
    if lower < 0:
        raise _wrong(path, line, f"lower is {lower}", "lifetimes begin at 0 or later")
    if upper <= lower:
        raise _wrong(
            path,
            line,
            f"the lifetime [{lower}, {upper}) {'is empty' if upper == lower else 'is reversed'}",
            "give an upper end behind the lower one",
        )
    if size < 1:
        raise _wrong(path, line, f"size is {size}", "sizes are at least 1")
    align = _number(path, line, "align", row.get("align") or "1")
    if align < 1:
        raise _wrong(path, line, f"align is {align}", "alignments are at least 1")
    gap, holes = _gap(path, line, row.get("gap", ""), lower, upper)
    fixed = None
    if row.get("fixed_offset"):
        fixed = _number(path, line, "fixed_offset", row["fixed_offset"])
        if fixed < 0:
            raise _wrong(path, line, f"fixed_offset is {fixed}", "offsets are 0 or more")
    groups = tuple(dict.fromkeys(row.get("bank_group", "").split()))
    return Buffer(row["id"], size, lower, upper, align, gap, fixed, groups, holes)


def _gap(
    path: Path, line: int, text: str, lower: int, upper: int
) -> tuple[int, tuple[tuple[int, int], ...]]:
    """Bytes behind the buffer, and steps in which it is not alive."""
    if not text:
        return 0, ()
    if _NUMBER.fullmatch(text):
        gap = _number(path, line, "gap", text)
        if gap < 0:
            raise _wrong(path, line, f"gap is {gap}", "gaps are 0 bytes or more")
        return gap, ()
    holes = []
    for item in text.split():
        match = _HOLE.fullmatch(item)
        if match is None:
            raise _wrong(
                path, line, f"gap is {text!r}", "give bytes, or steps such as 3-5 of its life"
            )
        low, high = int(match[1]), int(match[2])
        if not lower <= low < high <= upper:
            raise _wrong(
                path,
                line,
                f"gap {item} is no part of the lifetime [{lower}, {upper})",
                "give steps inside it, the first one lower",
            )
        holes.append((low, high))
    found = tuple(sorted(holes))
    if not Buffer("", 1, lower, upper, holes=found).lives():
        raise _wrong(path, line, "its gaps cover the whole lifetime", "leave a part of it")
    return 0, found


def _fits(
    path: Path, line: int, buffer: Buffer, capacity: int | None, align: int, bank: int | None
) -> None:
    """Raises where a line alone cannot be met by the memory."""
    if capacity is not None and buffer.size > capacity:
        raise _wrong(
            path,
            line,
            f"size {buffer.size} is above the capacity {capacity}",
            "use a larger memory or cut the buffer",
        )
    if buffer.groups and bank is None:
        raise _wrong(path, line, "has a bank group, but no bank has a size", "give --bank-bytes")
    if buffer.fixed is None:
        return
    for step in (align, buffer.align):
        if buffer.fixed % step:
            raise _wrong(
                path,
                line,
                f"fixed_offset {buffer.fixed} is no multiple of {step}",
                "keep the alignment",
            )
    if capacity is not None and buffer.fixed + buffer.size > capacity:
        raise _wrong(
            path,
            line,
            f"fixed_offset {buffer.fixed} and size {buffer.size} end above the capacity {capacity}",
            "move it down or use a larger memory",
        )


def _fixed_apart(path: Path, line: int, one: Buffer, other_line: int, other: Buffer) -> None:
    low, high = sorted((one, other), key=lambda b: b.fixed or 0)
    if (low.fixed or 0) + low.size + low.gap > (high.fixed or 0) and one.meets(other):
        raise _wrong(
            path,
            line,
            f"{one.name!r}, fixed at {one.fixed}, overlaps {other.name!r} of line {other_line}, "
            f"fixed at {other.fixed}",
            "fix them apart",
        )
