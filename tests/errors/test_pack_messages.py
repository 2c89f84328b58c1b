"""`dataflow pack`: each bad input has one message with its line; nothing is written."""

from __future__ import annotations

from pathlib import Path

import pytest

from dataflow.cli import run

HEAD = "id,lower,upper,size\n"
FULL = "id,lower,upper,size,align,gap,fixed_offset,bank_group\n"

CASES = {
    "empty": ("", "B.csv: is empty; begin with the line id,lower,upper,size"),
    "column": (
        "id,lower,size\n",
        "B.csv: line 1: lacks the column upper; begin with the line id,lower,upper,size",
    ),
    "unknown": (
        "id,lower,upper,size,colour\n",
        "B.csv: line 1: has the unknown column 'colour'; use id, lower, upper, size, align, gap, "
        "fixed_offset, bank_group",
    ),
    "twice": ("id,id,lower,upper,size\n", "B.csv: line 1: has the column id twice; keep one"),
    "fields": (
        HEAD + "a,0,1\n",
        "B.csv: line 2: has 3 fields, the header has 4; give id,lower,upper,size",
    ),
    "quote": (
        HEAD + '"a,0,1,2\n',
        "B.csv: line 2: is malformed (unexpected end of data); quote fields as CSV does",
    ),
    "word": (HEAD + "a,0,1,two\n", "B.csv: line 2: size is 'two'; give a whole number"),
    "fraction": (HEAD + "a,0,1.5,2\n", "B.csv: line 2: upper is '1.5'; give a whole number"),
    "huge": (
        HEAD + "a,0,1,99999999999999999\n",
        "B.csv: line 2: size is 99999999999999999; numbers go to 9007199254740992",
    ),
    "no id": (HEAD + ",0,1,2\n", "B.csv: line 2: has no id; give the buffer a name of its own"),
    "negative": (
        HEAD + "a,0,1,2\nb,-1,1,2\n",
        "B.csv: line 3: lower is -1; lifetimes begin at 0 or later",
    ),
    "reversed": (
        HEAD + "a,5,3,2\n",
        "B.csv: line 2: the lifetime [5, 3) is reversed; give an upper end behind the lower one",
    ),
    "instant": (
        HEAD + "a,5,5,2\n",
        "B.csv: line 2: the lifetime [5, 5) is empty; give an upper end behind the lower one",
    ),
    "nothing": (HEAD + "a,0,1,0\n", "B.csv: line 2: size is 0; sizes are at least 1"),
    "large": (
        HEAD + "a,0,1,101\n",
        "B.csv: line 2: size 101 is above the capacity 100; use a larger memory or cut the buffer",
    ),
    "id": (
        HEAD + "a,0,1,2\n\na,3,4,2\n",
        "B.csv: line 4: id 'a' is that of line 2 too; give each buffer its own",
    ),
    "align": (FULL + "a,0,1,2,0,,,\n", "B.csv: line 2: align is 0; alignments are at least 1"),
    "gap": (FULL + "a,0,1,2,,-1,,\n", "B.csv: line 2: gap is -1; gaps are 0 bytes or more"),
    "gap word": (
        FULL + "a,0,1,2,,some,,\n",
        "B.csv: line 2: gap is 'some'; give bytes, or steps such as 3-5 of its life",
    ),
    "hole": (
        FULL + "a,0,9,2,,3-12,,\n",
        "B.csv: line 2: gap 3-12 is no part of the lifetime [0, 9); give steps inside it, the "
        "first one lower",
    ),
    "holes": (
        FULL + "a,0,9,2,,0-4 4-9,,\n",
        "B.csv: line 2: its gaps cover the whole lifetime; leave a part of it",
    ),
    "fixed low": (
        FULL + "a,0,1,2,,,-8,\n",
        "B.csv: line 2: fixed_offset is -8; offsets are 0 or more",
    ),
    "fixed step": (
        FULL + "a,0,1,2,8,,4,\n",
        "B.csv: line 2: fixed_offset 4 is no multiple of 8; keep the alignment",
    ),
    "fixed high": (
        FULL + "a,0,1,2,,,99,\n",
        "B.csv: line 2: fixed_offset 99 and size 2 end above the capacity 100; move it down or use "
        "a larger memory",
    ),
    "fixed pair": (
        FULL + "a,0,5,8,,,0,\nb,4,9,8,,,4,\n",
        "B.csv: line 3: 'b', fixed at 4, overlaps 'a' of line 2, fixed at 0; fix them apart",
    ),
    "bank": (
        FULL + "a,0,5,8,,,,g\n",
        "B.csv: line 2: has a bank group, but no bank has a size; give --bank-bytes",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_bad_rows_have_one_message_with_the_line(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    text, message = CASES[name]
    Path("B.csv").write_text(text)
    assert run(["pack", "B.csv", "--capacity", "100", "-o", "O.csv"]) == 2
    assert capsys.readouterr() == ("", f"error: {message}\n")
    assert not Path("O.csv").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--capacity: is missing; give bytes, or --minimize"),
        (["--capacity", "0"], "--capacity: is 0; use 1 to 9007199254740992"),
        (["--capacity", "9", "--align", "-4"], "--align: is -4; use 1 to 9007199254740992"),
        (["--capacity", "9", "--bank-bytes", "0"], "--bank-bytes: is 0; use 1 to 9007199254740992"),
        (["--capacity", "9", "--effort", "0"], "--effort: is 0; use 1 to 9007199254740992"),
        (["--capacity", "9", "--seed", "-1"], "--seed: is -1; use 0 or more"),
    ],
)
def test_bad_options_have_one_message(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("B.csv").write_text(HEAD + "a,0,1,2\n")
    assert run(["pack", "B.csv", "-o", "O.csv", *arguments]) == 2
    assert capsys.readouterr() == ("", f"error: {message}\n")


def test_files_that_are_no_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, message in {
        "no.csv": "no.csv: there is no such file; give a CSV file of buffers",
        ".": ".: is a folder; give a CSV file of buffers",
        "bytes.csv": "bytes.csv: is not text in UTF-8; give a CSV file",
    }.items():
        Path("bytes.csv").write_bytes(b"\xff\xfe\x00")
        assert run(["pack", name, "--capacity", "9", "-o", "O.csv"]) == 2
        assert capsys.readouterr() == ("", f"error: {message}\n")
