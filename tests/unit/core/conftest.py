"""What all tests of the core share: the user's folders moved away, and a folder of images to open."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from segstudio.core.project import Project
from segstudio.core.records import LabelClass

# A busy computer makes any single example slow; time limits are pytest's.
settings.register_profile("core", deadline=None)
settings.load_profile("core")

CLASSES = (
    LabelClass(0, "Sky", (90, 218, 247), key="1"),
    LabelClass(1, "Car", (107, 107, 226)),
    LabelClass(5, "Tree", (20, 103, 20), ignore=True, aliases=("plant",)),
)


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEGSTUDIO_HOME", str(tmp_path / "home"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with three files that look like images."""
    path = tmp_path / "pictures"
    (path / "sub").mkdir(parents=True)
    for name in ("a2.png", "a10.jpg", "sub/b.tif"):
        (path / name).write_bytes(b"not decoded here")
    return path


@pytest.fixture
def project(folder: Path) -> Iterator[Project]:
    opened = Project.open(folder)
    opened.scan()
    opened.set_classes(CLASSES)
    yield opened
    opened.close()
