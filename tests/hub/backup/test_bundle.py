"""Bundles and their seal: what comes out is what went in, or an error."""

import io
import os
import stat
import tarfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.errors import InvalidInputError, StorageError
from hub.ports.archive import sealing
from hub.ports.archive.bundle import ABOUT, FILES, opened, written
from hub.ports.archive.sealing import SealedReader, SealedWriter

SECRET = b"correct horse battery staple"


def sealed(data: bytes, passphrase: bytes = SECRET) -> bytes:
    target = io.BytesIO()
    with SealedWriter(target, passphrase, os.urandom) as writer:
        for start in range(0, len(data), 700):
            writer.write(data[start : start + 700])
    return target.getvalue()


def unsealed(data: bytes, passphrase: bytes = SECRET) -> bytes:
    return io.BufferedReader(SealedReader(io.BytesIO(data), passphrase), 333).read()


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sealing, "CHUNK", 1000)
    monkeypatch.setattr(sealing, "_LOG_N", 10)


@pytest.mark.parametrize("size", [0, 1, 999, 1000, 1001, 2000, 5432])
def test_a_seal_gives_back_what_was_written(small_chunks: None, size: int) -> None:
    data = os.urandom(size)
    assert unsealed(sealed(data)) == data


def test_no_byte_of_a_sealed_stream_can_change_or_go(small_chunks: None) -> None:
    data = os.urandom(2500)
    whole = sealed(data)

    @settings(max_examples=60, deadline=None)
    @given(st.integers(0, len(whole) - 1), st.integers(1, 255))
    def changed(at: int, mask: int) -> None:
        bent = bytearray(whole)
        bent[at] ^= mask
        with pytest.raises((StorageError, InvalidInputError)):
            unsealed(bytes(bent))

    @settings(max_examples=60, deadline=None)
    @given(st.integers(0, len(whole) - 1))
    def cut(end: int) -> None:
        with pytest.raises((StorageError, InvalidInputError)):
            unsealed(whole[:end])

    changed()
    cut()
    with pytest.raises(StorageError):
        unsealed(whole + b"\0")


def test_chunks_cannot_be_swapped(small_chunks: None) -> None:
    whole = sealed(bytes(3000))
    head, chunk = 35, 1016
    a, b, rest = (
        whole[head : head + chunk],
        whole[head + chunk : head + 2 * chunk],
        whole[head + 2 * chunk :],
    )
    with pytest.raises((StorageError, InvalidInputError)):
        unsealed(whole[:head] + b + a + rest)


def test_a_wrong_passphrase_is_told(small_chunks: None) -> None:
    with pytest.raises(InvalidInputError, match="passphrase"):
        unsealed(sealed(b"something"), b"something else")


def bundle(path: Path, files: dict[str, bytes], passphrase: bytes | None = None) -> None:
    with written(
        path,
        {"format": 1},
        time_s=1_700_000_000,
        passphrase=passphrase,
        octets=os.urandom,
        check=lambda _: None,
    ) as writer:
        for name, data in files.items():
            writer.add_bytes(name, data)


def contents(path: Path, passphrase: bytes | None = None) -> dict[str, bytes]:
    with opened(path, passphrase) as found:
        return {name: content.read() for name, _, content in found.files()}


FILES_IN = {"a/b": b"x" * 70_000, "empty": b"", "store/manifest.json": b"{}"}


@pytest.mark.parametrize("passphrase", [None, SECRET])
def test_a_bundle_gives_back_its_files_and_is_private(
    tmp_path: Path, passphrase: bytes | None
) -> None:
    path = tmp_path / "one.tar"
    bundle(path, FILES_IN, passphrase)
    assert contents(path, passphrase) == FILES_IN
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [one.name for one in tmp_path.iterdir()] == ["one.tar"]
    with pytest.raises(InvalidInputError, match="exists"):
        bundle(path, FILES_IN, passphrase)
    if passphrase is None:
        with tarfile.open(path) as tar:
            assert tar.getnames() == [ABOUT, *FILES_IN, FILES]
    else:
        assert b"manifest" not in path.read_bytes()
        with pytest.raises(InvalidInputError, match="--passphrase-file"):
            contents(path)


def test_what_is_not_read_by_the_caller_is_hashed_all_the_same(tmp_path: Path) -> None:
    path = tmp_path / "one.tar"
    bundle(path, FILES_IN)
    bent = path.read_bytes().replace(b"x" * 70_000, b"x" * 69_999 + b"y")
    path.write_bytes(bent)
    with (
        pytest.raises(StorageError, match=r"1 files are not as they were written, a/b"),
        opened(path, None) as found,
    ):
        list(found.files())


def test_every_cut_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "one.tar"
    bundle(path, FILES_IN)
    whole = path.read_bytes()
    end = whole.rindex(b"files.json")
    for size in (0, 100, 512, 5_000, 70_000, end - 1, end + 300):
        path.write_bytes(whole[:size])
        with pytest.raises(StorageError):
            contents(path)


@pytest.mark.parametrize("name", ["/etc/passwd", "../out", "a/../../out"])
def test_a_file_that_would_leave_the_folder_is_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / "one.tar"
    bundle(path, {name: b"x"})
    with pytest.raises(StorageError, match="unsafe"):
        contents(path)


def test_a_link_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "one.tar"
    with tarfile.open(path, "w") as tar:
        about = tarfile.TarInfo(ABOUT)
        about.size = 2
        tar.addfile(about, io.BytesIO(b"{}"))
        link = tarfile.TarInfo("link")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    with pytest.raises(StorageError, match="no plain file"):
        contents(path)


def test_a_bundle_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def refuse(part: Path) -> None:
        assert part.exists()
        raise StorageError("not good")

    with (
        pytest.raises(StorageError, match="not good"),
        written(
            tmp_path / "one.tar",
            {},
            time_s=0,
            passphrase=None,
            octets=os.urandom,
            check=refuse,
        ),
    ):
        pass
    assert list(tmp_path.iterdir()) == []
