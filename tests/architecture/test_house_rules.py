"""Rules of the tree that no linter holds."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from importlib.metadata import distributions, version
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def tracked_texts() -> list[tuple[Path, str]]:
    """Every text file that belongs to the project."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False)
    if listed.returncode != 0:
        pytest.skip("not a git checkout")
    texts = []
    for name in listed.stdout.decode().split("\0"):
        path = ROOT / name
        if (
            name
            and path.is_file()
            and path.suffix in {".py", ".md", ".toml", ".txt", ".sh", ".json", ".spec", ""}
        ):
            texts.append((path.relative_to(ROOT), path.read_text(encoding="utf-8", errors="replace")))
    return texts


def test_no_path_of_a_builder_s_machine_is_in_the_tree() -> None:
    pattern = re.compile(r"(?<![\w.])/(?:work|root|home/\w+)/\w+")
    found = [f"{path}: {hit.group()}" for path, text in tracked_texts() for hit in pattern.finditer(text)]
    assert found == []


def test_no_module_hides_its_subject_behind_a_vague_name() -> None:
    vague = {"utils", "util", "helpers", "helper", "common", "base", "manager", "misc"}
    roots = [ROOT / "segstudio", ROOT / "plugins"]
    found = [path for root in roots for path in root.rglob("*.py") if path.stem in vague]
    assert found == []


def test_qt_has_the_version_that_keeps_references_right() -> None:
    major, minor = (int(part) for part in version("PySide6-Essentials").split(".")[:2])
    assert (6, 10) <= (major, minor) < (6, 12)


def test_no_opencv_with_a_qt_of_its_own_is_installed() -> None:
    names = {str(item.metadata["Name"]).lower() for item in distributions()}
    assert "opencv-python-headless" in names
    assert not names & {"opencv-python", "opencv-contrib-python"}


def test_every_dependency_says_why_it_is_there() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    dependencies = tomllib.loads(text)["project"]["dependencies"]
    for requirement in dependencies:
        line = next(line for line in text.splitlines() if f'"{requirement}"' in line)
        assert re.search(r"#\s+\w+.{10,}", line), f"{requirement} has no reason beside it"


def test_the_window_s_modules_import_without_torch_or_a_plugin() -> None:
    script = (
        "import sys, pkgutil, importlib\n"
        "import segstudio.runtime, segstudio.ui, segstudio.core, segstudio.ipc\n"
        "for package in (segstudio.runtime, segstudio.ui, segstudio.core, segstudio.ipc):\n"
        "    for module in pkgutil.walk_packages(package.__path__, package.__name__ + '.'):\n"
        "        importlib.import_module(module.name)\n"
        "heavy = {'torch', 'torchvision', 'lightning_fabric', 'segstudio_zoo', 'segstudio_example',"
        " 'segstudio_torchvision', 'segstudio.registry'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == "[]"
