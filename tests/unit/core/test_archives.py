from __future__ import annotations

import io
import stat
import tarfile
import zipfile
from pathlib import Path

import pytest

from segstudio.core.archives import Limits, is_archive, unpack, unpacked
from segstudio.core.errors import UserError

TRAVERSALS = ["../x", "a/../../x", "/abs/x", "C:\\x", "..\\x", "\\\\server\\x", "a/b/../../../x"]


def make_zip(path: Path, names: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in names.items():
            archive.writestr(name, content)
    return path


def make_tar(path: Path, names: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, content in names.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return path


@pytest.mark.parametrize("make", [make_zip, make_tar])
def test_files_come_out_where_they_belong(tmp_path: Path, make):
    path = make(tmp_path / "data.bin", {"a.txt": b"one", "sub/deep/b.txt": b"two"})
    assert is_archive(path)
    with unpacked(path) as folder:
        assert (folder / "a.txt").read_bytes() == b"one"
        assert (folder / "sub" / "deep" / "b.txt").read_bytes() == b"two"
    assert not folder.exists()


@pytest.mark.parametrize("make", [make_zip, make_tar])
@pytest.mark.parametrize("name", TRAVERSALS)
def test_nothing_is_written_outside(tmp_path: Path, make, name: str):
    path = make(tmp_path / "data.bin", {name: b"evil"})
    target = tmp_path / "one" / "two" / "target"
    target.mkdir(parents=True)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UserError, match="leaves its folder"):
        unpack(path, target)
    assert sorted(tmp_path.rglob("*")) == before


def test_links_are_refused(tmp_path: Path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        entry = zipfile.ZipInfo("link")
        entry.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(entry, "/etc/passwd")
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for kind in (tarfile.SYMTYPE,):
            item = tarfile.TarInfo("link")
            item.type, item.linkname = kind, "/etc"
            archive.addfile(item)
    for name in ("a.zip", "a.tar"):
        (tmp_path / f"to_{name}").mkdir()
        with pytest.raises(UserError, match="is a link"):
            unpack(tmp_path / name, tmp_path / f"to_{name}")
        assert list((tmp_path / f"to_{name}").iterdir()) == []


@pytest.mark.parametrize("make", [make_zip, make_tar])
def test_bombs_stop_early(tmp_path: Path, make):
    path = make(tmp_path / "bomb.bin", {"zeros": bytes(50 << 20)})
    target = tmp_path / "target"
    target.mkdir()
    with pytest.raises(UserError, match="grows beyond"):
        unpack(path, target)
    assert (target / "zeros").stat().st_size <= 200 * max(4096, path.stat().st_size)
    many = make(tmp_path / "many.bin", {f"{number}.txt": b"" for number in range(30)})
    with pytest.raises(UserError, match="more than 20 files"):
        unpack(many, target, Limits(files=20))


def test_broken_archives_are_one_sentence(tmp_path: Path):
    path = make_zip(tmp_path / "a.zip", {"a": bytes(range(256)) * 40})
    content = bytearray(path.read_bytes())
    content[60] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(UserError, match="cannot be unpacked"):
        unpack(path, tmp_path)
    (tmp_path / "plain.txt").write_text("no archive", "utf-8")
    assert not is_archive(tmp_path / "plain.txt")
