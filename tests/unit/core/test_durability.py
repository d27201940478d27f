"""Killed at any moment, a project loses no stroke whose commit had returned."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from segstudio.core.project import Project
from segstudio.core.project_check import check_project

CHILD = """
import sys
from segstudio.core.edits import StrokeRecorder
from segstudio.core.project import Project

project = Project.open(sys.argv[1])
assert not project.read_only, project.read_only_reason
image_id = project.images()[0].id
labels = project.load_labels(image_id)
number = int(sys.argv[2])
print("ready", flush=True)
while True:
    recorder = StrokeRecorder(labels)
    x, y = number * 37 % 900, number * 53 % 900
    recorder.touch(x, y, x + 90, y + 90)
    labels.array[y : y + 90, x : x + 90] = number % 200
    edit = recorder.finish("brush", number % 200)
    if edit is not None:
        project.commit(image_id, edit)
    print(number, flush=True)
    number += 1
"""


def replayed(strokes: int) -> np.ndarray:
    labels = np.full((1000, 1000), 255, np.uint8)
    for number in range(strokes):
        x, y = number * 37 % 900, number * 53 % 900
        labels[y : y + 90, x : x + 90] = number % 200
    return labels


def kill_repeatedly(folder: Path, kills: int) -> int:
    """Kills a painting process `kills` times and checks after each; gives the strokes it finished."""
    chance = random.Random(5)
    project = Project.open(folder)
    project.scan()
    image_id = project.images()[0].id
    project.set_size(image_id, 1000, 1000)
    project.close()
    durable = 0
    for _ in range(kills):
        child = subprocess.Popen(
            [sys.executable, "-c", CHILD, str(folder), str(durable)], stdout=subprocess.PIPE, text=True
        )
        assert child.stdout is not None and child.stdout.readline() == "ready\n"
        deadline = time.monotonic() + chance.uniform(0.0, 0.08)
        acknowledged = durable
        while time.monotonic() < deadline:
            acknowledged = int(child.stdout.readline()) + 1
        child.kill()
        for line in child.stdout.read().splitlines(keepends=True):
            if line.endswith("\n"):  # what was printed whole before the end counts too
                acknowledged = int(line) + 1
        child.wait()
        project = Project.open(folder)
        assert not project.read_only, "the lock of a killed process must be free at once"
        labels = project.load_labels(image_id).array
        # The stroke whose commit was under way may be there or not, but only as a whole.
        finished = [
            count for count in (acknowledged, acknowledged + 1) if np.array_equal(labels, replayed(count))
        ]
        assert finished, f"strokes were lost or torn after {acknowledged}"
        durable = finished[-1]
        project.close()
    assert check_project(folder).sound
    return durable


def test_kill_at_random_moments_loses_no_finished_stroke(folder: Path):
    assert kill_repeatedly(folder, 25) > 25


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_kill_at_500_random_moments_loses_no_finished_stroke(folder: Path):
    assert kill_repeatedly(folder, 500) > 500


def test_of_two_instances_one_writes_and_the_other_says_so(folder: Path):
    first = Project.open(folder)
    first.scan()
    second = Project.open(folder)
    assert not first.read_only
    assert second.read_only and "has this project open" in second.read_only_reason
    assert [image.path for image in second.images()] == [image.path for image in first.images()]
    with pytest.raises(Exception, match="open for reading only"):
        second.set_status(1, "done")
    second.close()
    first.close()
    third = Project.open(folder)
    assert not third.read_only
    third.close()


def test_of_many_processes_exactly_one_writes(folder: Path):
    Project.open(folder).close()
    code = (
        "import sys; from segstudio.core.project import Project; p = Project.open(sys.argv[1]); "
        "print(p.read_only, flush=True); sys.stdin.read()"
    )
    children = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    answers = [child.stdout.readline().strip() for child in children if child.stdout is not None]
    for child in children:
        child.communicate("")
    assert sorted(answers) == ["False", "True", "True", "True"]
