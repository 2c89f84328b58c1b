"""Input arrays and output folders: what is refused, with the exact message, and what is kept."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest

from dataflow.errors import DataflowError
from dataflow.files import write_atomic
from dataflow.npz import Array, ArraySpec, check_arrays, load_npz, save_npz
from dataflow.outdir import MARKER, replacing, require_ours

SPECS = (ArraySpec("x", (1, 3), "float32"), ArraySpec("mask", (2,), "int8"))
GOOD: dict[str, Array] = {"mask": np.zeros(2, np.int8), "x": np.ones((1, 3), np.float32)}


def message_of(error: pytest.ExceptionInfo[DataflowError], folder: Path) -> str:
    return str(error.value).replace(f"{folder}/", "")


def test_arrays_come_back_in_the_order_of_the_model() -> None:
    assert list(check_arrays(GOOD, SPECS)) == ["x", "mask"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"maks": np.zeros(2, np.int8)},
            "input 'maks': the model has no input of this name; did you mean 'mask'? "
            "inputs: 'x', 'mask'",
        ),
        ({"x": None}, "input 'x': is missing; add an array of shape (1, 3) and dtype float32"),
        (
            {"x": np.ones((3, 1), np.float32)},
            "input 'x': has shape (3, 1); the model takes shape (1, 3)",
        ),
        (
            {"x": np.ones((1, 3))},
            "input 'x': has dtype float64; the model takes float32: use .astype(numpy.float32)",
        ),
        (
            {"mask": np.zeros(2, np.uint8)},
            "input 'mask': has dtype uint8; the model takes int8: use .astype(numpy.int8)",
        ),
        (
            {"x": np.array([[1, np.inf, 0]], np.float32)},
            "input 'x': holds NaN or infinity; give finite numbers",
        ),
    ],
)
def test_wrong_array_is_named(change: dict[str, Array | None], message: str) -> None:
    arrays = {k: v for k, v in {**GOOD, **change}.items() if v is not None}
    with pytest.raises(DataflowError) as caught:
        check_arrays(arrays, SPECS)
    assert str(caught.value) == message


def test_infinite_values_are_allowed_where_asked_for() -> None:
    given = {**GOOD, "x": np.array([[1, -np.inf, np.nan]], np.float32)}
    assert check_arrays(given, SPECS, finite=False)["x"] is given["x"]


def test_save_then_load_gives_the_same_arrays_and_bytes(tmp_path: Path) -> None:
    arrays: dict[str, Array] = {
        "a": np.arange(6, dtype=np.int8).reshape(2, 3),
        "b/c": np.array(3.5, np.float32),
        "t": np.arange(6.0).reshape(2, 3).T,
    }
    save_npz(tmp_path / "1.npz", arrays)
    save_npz(tmp_path / "2.npz", arrays)
    assert (tmp_path / "1.npz").read_bytes() == (tmp_path / "2.npz").read_bytes()
    loaded = load_npz(tmp_path / "1.npz")
    assert list(loaded) == list(arrays)
    for name, array in arrays.items():
        assert loaded[name].dtype == array.dtype
        np.testing.assert_array_equal(loaded[name], array)


def test_numbers_keep_their_shape(tmp_path: Path) -> None:
    save_npz(tmp_path / "x.npz", {"y": np.array(2.5, np.float32), "z": np.zeros((0, 3), np.int8)})
    found = load_npz(tmp_path / "x.npz")
    assert found["y"].shape == ()
    assert found["z"].shape == (0, 3)


def test_compressed_file_is_read(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "c.npz", x=np.arange(10))
    np.testing.assert_array_equal(load_npz(tmp_path / "c.npz")["x"], np.arange(10))


def archive(path: Path, **members: bytes) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in members.items():
            file.writestr(name.replace("_npy", ".npy"), data)


def npy(array: Array) -> bytes:
    data = io.BytesIO()
    np.save(data, array, allow_pickle=True)
    return data.getvalue()


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(DataflowError) as caught:
        load_npz(tmp_path / "x.npz")
    expected = "x.npz: there is no such file; give an .npz file (numpy.savez)"
    assert message_of(caught, tmp_path) == expected


@pytest.mark.parametrize("data", [b"", b"not a zip", b"PK\x03\x04" + b"\0" * 40])
def test_damaged_file(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "x.npz").write_bytes(data)
    with pytest.raises(DataflowError) as caught:
        load_npz(tmp_path / "x.npz")
    expected = "x.npz: is not an .npz file, or is damaged; write it with numpy.savez"
    assert message_of(caught, tmp_path) == expected


def test_every_truncation_is_refused(tmp_path: Path) -> None:
    save_npz(tmp_path / "x.npz", GOOD)
    whole = (tmp_path / "x.npz").read_bytes()
    for length in range(0, len(whole), 7):
        (tmp_path / "x.npz").write_bytes(whole[:length])
        with pytest.raises(DataflowError):
            load_npz(tmp_path / "x.npz")


def test_flipped_bytes_are_an_error_or_harmless(tmp_path: Path) -> None:
    save_npz(tmp_path / "x.npz", GOOD)
    whole = (tmp_path / "x.npz").read_bytes()
    refused = 0
    for place in range(0, len(whole), 3):
        damaged = bytearray(whole)
        damaged[place] ^= 0x5A
        (tmp_path / "x.npz").write_bytes(bytes(damaged))
        try:
            load_npz(tmp_path / "x.npz")
        except DataflowError:
            refused += 1
    assert refused > len(whole) // 6  # any other exception would have failed the test


def test_pickled_objects_are_not_loaded(tmp_path: Path) -> None:
    archive(tmp_path / "x.npz", x_npy=npy(np.array([{}], dtype=object)))
    with pytest.raises(DataflowError) as caught:
        load_npz(tmp_path / "x.npz")
    assert message_of(caught, tmp_path) == (
        "x.npz: x: holds Python objects, which are not loaded; give an array of numbers"
    )


def test_file_that_unpacks_to_too_much(tmp_path: Path) -> None:
    archive(tmp_path / "x.npz", x_npy=npy(np.zeros(100_000, np.int8)))
    with pytest.raises(DataflowError) as caught:
        load_npz(tmp_path / "x.npz", max_bytes=1000)
    assert message_of(caught, tmp_path) == (
        "x.npz: unpacks to 100128 bytes, more than 1000; give fewer samples"
    )


def test_header_that_claims_more_than_the_file_holds(tmp_path: Path) -> None:
    data = npy(np.zeros(1000, np.int8)).replace(b"(1000,)", b"(9999,)")
    archive(tmp_path / "x.npz", x_npy=data)
    with pytest.raises(DataflowError) as caught:
        load_npz(tmp_path / "x.npz")
    assert message_of(caught, tmp_path) == (
        "x.npz: x: claims 9999 bytes (shape (9999,)) but the file holds 1128; "
        "write it again with numpy.savez"
    )


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({}, "x.npz: holds no array; write it with numpy.savez"),
        ({"a.txt": b"1"}, "x.npz: holds 'a.txt', which is not an array; use numpy.savez"),
        ({"a_npy": b"12345678"}, "x.npz: a: is not a NumPy array; write it with numpy.savez"),
    ],
)
def test_archive_without_arrays(tmp_path: Path, members: dict[str, bytes], message: str) -> None:
    archive(tmp_path / "x.npz", **members)
    with pytest.raises(DataflowError) as caught:
        load_npz(tmp_path / "x.npz")
    assert message_of(caught, tmp_path) == message


def test_same_name_twice(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as file:
        file.writestr("a.npy", npy(np.zeros(1)))
        with pytest.warns(UserWarning, match="Duplicate name"):
            file.writestr("a.npy", npy(np.ones(1)))
    with pytest.raises(DataflowError) as caught:
        load_npz(tmp_path / "x.npz")
    expected = "x.npz: holds the array 'a' twice; give every array its own name"
    assert message_of(caught, tmp_path) == expected


# -- output folder


def files(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*"))


def test_new_empty_and_own_folders_are_written_whole(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with replacing(out) as fresh:
        assert not out.exists()
        (fresh / "one").write_text("1")
    assert files(out) == [MARKER, "one"]
    with replacing(out) as fresh:
        (fresh / "two").write_text("2")
        assert files(out) == [MARKER, "one"]
    assert files(out) == [MARKER, "two"]
    (tmp_path / "empty").mkdir()
    with replacing(tmp_path / "empty"):
        pass
    assert files(tmp_path) == ["empty", f"empty/{MARKER}", "out", f"out/{MARKER}", "out/two"]


def test_failure_leaves_the_old_folder_as_it_was(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with replacing(out) as fresh:
        (fresh / "one").write_text("1")
    with pytest.raises(ZeroDivisionError), replacing(out) as fresh:
        (fresh / "two").write_text(str(1 // 0))
    assert files(tmp_path) == ["out", f"out/{MARKER}", "out/one"]


def test_failure_leaves_nothing_where_nothing_was(tmp_path: Path) -> None:
    with pytest.raises(KeyError), replacing(tmp_path / "out"):
        raise KeyError
    assert files(tmp_path) == []


def test_folder_that_is_not_ours_is_left_alone(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "thesis.tex").write_text("years of work")
    with pytest.raises(DataflowError) as caught, replacing(out):
        pass
    assert message_of(caught, tmp_path) == (
        "out: exists, is not empty and was not written by dataflow; name another folder, or remove "
        "it yourself"
    )
    assert files(tmp_path) == ["out", "out/thesis.tex"]


def test_file_link_and_missing_parent_are_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "link").symlink_to(tmp_path)
    for name, message in (
        ("file", "file: exists and is not a folder; name another folder"),
        ("link", "link: is a symbolic link; name the folder itself"),
        ("no/out", "no/out: its parent folder no does not exist; create it"),
    ):
        with pytest.raises(DataflowError) as caught, replacing(tmp_path / name):
            pass
        assert message_of(caught, tmp_path) == message
    assert files(tmp_path) == ["file", "link"]


def test_commands_on_a_folder_that_compile_has_not_written(tmp_path: Path) -> None:
    fix = "run dataflow compile MODEL -o OUT first, and name OUT"
    with pytest.raises(DataflowError) as caught:
        require_ours(tmp_path / "none")
    assert message_of(caught, tmp_path) == f"none: does not exist; {fix}"
    (tmp_path / "other").mkdir()
    with pytest.raises(DataflowError) as caught:
        require_ours(tmp_path / "other")
    assert message_of(caught, tmp_path) == f"other: is not an output folder of compile; {fix}"


def test_write_atomic_to_a_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(DataflowError) as caught:
        write_atomic(tmp_path / "no" / "x", b"")
    assert message_of(caught, tmp_path) == (
        "no/x: cannot be written (No such file or directory); name a file in a writable folder"
    )
