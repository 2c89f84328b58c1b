"""Files and folders under bad luck: full disks, killed writers, two writers at once."""

from __future__ import annotations

import multiprocessing
import os
import resource
import signal
import struct
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from io import BytesIO
from multiprocessing.synchronize import Event
from pathlib import Path

import numpy as np
import pytest

from dataflow.errors import DataflowError
from dataflow.files import PART, write_atomic, write_together
from dataflow.ir import text
from dataflow.npz import Array, load_npz
from dataflow.outdir import MARKER, replacing, used

SPAWN = multiprocessing.get_context("fork")


@contextmanager
def full_disk(room: int = 1000) -> Iterator[None]:
    """No file can grow beyond ``room`` bytes, as when the disk is full."""
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, old[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
        signal.signal(signal.SIGXFSZ, handler)


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def test_a_full_disk_leaves_files_as_they_were(tmp_path: Path) -> None:
    old, other = tmp_path / "a", tmp_path / "b"
    old.write_bytes(b"old")
    with full_disk(), pytest.raises(DataflowError, match="b: cannot be written"):
        write_together({old: b"new", other: bytes(100_000)})
    assert old.read_bytes() == b"old"
    assert names(tmp_path) == ["a"]


def test_a_full_disk_leaves_a_folder_as_it_was(tmp_path: Path) -> None:
    with replacing(tmp_path / "out") as fresh:
        (fresh / "one").write_text("1")
    with (
        full_disk(),
        pytest.raises(DataflowError, match="out: cannot be written"),
        replacing(tmp_path / "out") as fresh,
    ):
        (fresh / "two").write_bytes(bytes(100_000))
    assert names(tmp_path) == ["out"]
    assert names(tmp_path / "out") == [MARKER, "one"]


def test_permissions_links_and_devices_are_kept(tmp_path: Path) -> None:
    (tmp_path / "real").write_bytes(b"old")
    (tmp_path / "real").chmod(0o640)
    (tmp_path / "link").symlink_to("real")
    write_atomic(tmp_path / "link", b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_bytes() == b"new"
    assert (tmp_path / "real").stat().st_mode & 0o777 == 0o640
    write_atomic(Path("/dev/null"), b"gone")
    assert Path("/dev/null").is_char_device()
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DataflowError, match="is no regular file"):
        write_atomic(tmp_path / "pipe", b"")


def test_long_names(tmp_path: Path) -> None:
    for length in (100, 250, 255):
        write_atomic(tmp_path / ("f" * length), b"x")
        with replacing(tmp_path / ("d" * length)):
            pass
    assert len(names(tmp_path)) == 6
    with pytest.raises(DataflowError, match="cannot be written"):
        write_atomic(tmp_path / ("f" * 300), b"x")
    with pytest.raises(DataflowError, match="cannot be written"), replacing(tmp_path / ("d" * 300)):
        pass


def _wait_inside(out: Path, inside: Event) -> None:
    with replacing(out) as fresh:
        (fresh / "half").write_text("")
        inside.set()
        time.sleep(60)


def _killed(target: Callable[[Path, Event], None], path: Path) -> None:
    """Runs ``target`` until it says that it is inside, then kills it."""
    inside = SPAWN.Event()
    child = SPAWN.Process(target=target, args=(path, inside))
    child.start()
    assert inside.wait(30)
    child.kill()
    child.join()


def test_what_a_killed_run_leaves_goes_with_the_next(tmp_path: Path) -> None:
    out = tmp_path / "out"
    _killed(_wait_inside, out)
    assert any(name.endswith(PART) for name in names(tmp_path))
    stranger = tmp_path / f".other.12345678{PART}"
    stranger.mkdir()
    with replacing(out):
        pass
    assert names(tmp_path) == [stranger.name, "out"]


def _take_away(out: Path, inside: Event) -> None:
    with replacing(out) as fresh:
        out.rename(fresh.parent / "old")
        inside.set()
        time.sleep(60)


def test_a_folder_that_a_killed_run_had_taken_away_returns(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with replacing(out) as fresh:
        (fresh / "one").write_text("1")
    _killed(_take_away, out)
    with pytest.raises(ZeroDivisionError), replacing(out):
        raise ZeroDivisionError
    assert names(tmp_path) == ["out"]
    assert names(out) == [MARKER, "one"]


def test_a_running_writer_keeps_its_folder(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with replacing(out) as first:
        with replacing(out) as second:
            (second / "two").write_text("")
        (first / "one").write_text("")
    assert names(out) == [MARKER, "one"]


def _use(out: Path, log: Path, inside: Event) -> None:
    with used(out):
        inside.set()
        time.sleep(0.5)
        log.write_text("used first")


def test_who_uses_a_folder_is_waited_for(tmp_path: Path) -> None:
    out, log = tmp_path / "out", tmp_path / "log"
    with replacing(out):
        pass
    inside = SPAWN.Event()
    child = SPAWN.Process(target=_use, args=(out, log, inside))
    child.start()
    assert inside.wait(30)
    with used(out):
        assert log.read_text() == "used first"
    child.join()


# -- arrays


def _npz(path: Path, header: bytes, data: bytes = b"", version: tuple[int, int] = (1, 0)) -> Path:
    size = struct.pack("<H" if version == (1, 0) else "<I", len(header))
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", b"\x93NUMPY" + bytes(version) + size + header + data)
    return path


def _header(shape: str, descr: str = "'<f4'") -> bytes:
    return f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}}}\n".encode()


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (_header("(-1,)"), "claims the shape (-1,)"),
        (_header("(2, -3)"), "claims the shape (2, -3)"),
        (_header("(True, 2)"), "claims the shape (True, 2)"),
        (_header(str((1,) * 70)), "at most 32 dimensions"),
        (_header("(2,)", "'<U4'"), "not numbers"),
        (_header("(2,)", "'<M8[s]'"), "not numbers"),
        (_header("(2,)", "[('a', '<f4')]"), "not numbers"),
        (_header("(2,)", "'|O'"), "holds Python objects"),
        (_header("(3,)", "'nonsense'"), "is not a NumPy array"),
        (_header("(" * 500), "is not a NumPy array"),
        (b"{", "is not a NumPy array"),
        (b"\x00" * 30, "is not a NumPy array"),
    ],
)
def test_odd_headers(tmp_path: Path, header: bytes, message: str) -> None:
    with pytest.raises(DataflowError) as caught:
        load_npz(_npz(tmp_path / "x.npz", header, bytes(8)))
    assert message in str(caught.value)


def test_unknown_version_and_short_data(tmp_path: Path) -> None:
    with pytest.raises(DataflowError, match="is not a NumPy array"):
        load_npz(_npz(tmp_path / "x.npz", _header("(2,)"), bytes(8), (9, 0)))
    padded = _header("(20,)")[:-1] + b" " * 200 + b"\n"  # the header makes up for what is missing
    with pytest.raises(DataflowError, match="ends after 20 of 80 bytes"):
        load_npz(_npz(tmp_path / "x.npz", padded, bytes(20)))
    newer = _npz(tmp_path / "y.npz", _header("(2,)"), np.ones(2, np.float32).tobytes(), (2, 0))
    np.testing.assert_array_equal(load_npz(newer)["x"], np.ones(2, np.float32))


def test_arrays_in_the_order_of_columns(tmp_path: Path) -> None:
    data = np.asfortranarray(np.arange(6, dtype=np.int16).reshape(2, 3))
    np.savez_compressed(tmp_path / "x.npz", x=data)
    np.testing.assert_array_equal(load_npz(tmp_path / "x.npz")["x"], data)


def test_a_pipe_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.npz")
    with pytest.raises(DataflowError, match="is no regular file"):
        load_npz(tmp_path / "x.npz")


def test_what_is_not_wanted_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    bomb = tmp_path / "x.npz"
    buffer = BytesIO()
    np.lib.format.write_array_header_1_0(
        buffer, {"descr": "<f4", "fortran_order": False, "shape": (1 << 26,)}
    )
    with (
        zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("x.npy", "w", force_zip64=True) as stream,
    ):
        stream.write(buffer.getvalue())
        for _ in range(256):
            stream.write(bytes(1 << 20))

    def wanted(heads: Mapping[str, Array]) -> None:
        assert heads["x"].strides == (0,)
        raise DataflowError("x", f"has shape {heads['x'].shape}", "shrink it")

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(DataflowError, match="has shape"):
        load_npz(bomb, check=wanted)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # KiB


# -- text cascades with weights

WEIGHTED = """
einsum:
  name: scaled
  shapes: {M: 4}
  declaration: {X: [M], W: [M], Y: [M]}
  weights: [W]
  expressions: |
    Y[m] = X[m] * W[m]
"""


def test_weights_do_not_overwrite_other_data(tmp_path: Path) -> None:
    weights = {"W": np.arange(4, dtype=np.float32)}
    cascade = text.loads(WEIGHTED, "c", weights)
    np.savez(tmp_path / "d.npz", mine=np.ones(3))
    before = (tmp_path / "d.npz").read_bytes()
    with pytest.raises(DataflowError, match=r"d\.npz: is in the way"):
        text.save(cascade, tmp_path / "d.yaml")
    assert names(tmp_path) == ["d.npz"]
    assert (tmp_path / "d.npz").read_bytes() == before
    text.save(cascade, tmp_path / "e.yaml")
    text.save(cascade, tmp_path / "e.yaml")
    np.testing.assert_array_equal(text.load(tmp_path / "e.yaml").constants["W"], weights["W"])
    before = (tmp_path / "e.yaml").read_bytes()
    with full_disk(100), pytest.raises(DataflowError, match="cannot be written"):
        text.save(cascade, tmp_path / "e.yaml")
    assert (tmp_path / "e.yaml").read_bytes() == before
