"""Whatever is painted, imported, merged, undone and redone: the pixels are exactly those of a plain list."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from segstudio.core.edits import StrokeRecorder
from segstudio.core.project import Project
from segstudio.core.records import LabelClass, Merge

WIDTH, HEIGHT = 530, 300
places = st.tuples(
    st.integers(-20, WIDTH), st.integers(-20, HEIGHT), st.integers(1, 300), st.integers(1, 200)
)
classes = st.integers(0, 4)


class ProjectMachine(RuleBasedStateMachine):
    """The model keeps every state as a full array below the merges, the merges as a list."""

    def __init__(self) -> None:
        super().__init__()
        self._folder = tempfile.TemporaryDirectory()
        Path(self._folder.name, "a.png").touch()
        self.project = Project.open(self._folder.name)
        self.project.scan()
        self.project.set_classes([LabelClass(index, f"class {index}", (index, 0, 0)) for index in range(5)])
        self.image_id = self.project.images()[0].id
        self.project.set_size(self.image_id, WIDTH, HEIGHT)
        self.states = [np.full((HEIGHT, WIDTH), 255, np.uint8)]
        self.at = 0
        self.merges: list[Merge] = []

    def teardown(self) -> None:
        self.project.close()
        self._folder.cleanup()

    def shown(self, state: np.ndarray) -> np.ndarray:
        result = state.copy()
        for merge in self.merges:
            result[result == merge.removed.id] = 255 if merge.target == -1 else merge.target
        return result

    def stands(self, index: int) -> bool:
        return all(merge.removed.id != index for merge in self.merges)

    def push(self, wanted: np.ndarray) -> None:
        old = self.states[self.at]
        self.states = [*self.states[: self.at + 1], np.where(self.shown(old) == wanted, old, wanted)]
        self.at += 1

    @rule(place=places, index=classes)
    def paint(self, place, index):
        if not self.stands(index):
            return
        x, y, w, h = place
        labels = self.project.load_labels(self.image_id)
        recorder = StrokeRecorder(labels)
        rect = recorder.touch(x, y, x + w, y + h)
        if rect is None:
            return
        labels.array[rect.y0 : rect.y1, rect.x0 : rect.x1] = index
        edit = recorder.finish("brush", index)
        if edit is not None:
            self.project.commit(self.image_id, edit)
            self.push(labels.array)

    @rule(seed=st.integers(0, 9), index=classes)
    def import_picture(self, seed, index):
        if not self.stands(index):
            return
        rough = np.random.default_rng(seed).integers(0, 2, (6, 11)).astype(bool)
        labels = np.where(np.kron(rough, np.ones((50, 50), bool))[:HEIGHT, :WIDTH], index, 255).astype(
            np.uint8
        )
        if self.project.import_labels(self.image_id, labels) is not None:
            self.push(labels)

    @rule()
    def undo(self):
        applied = self.project.undo(self.image_id)
        assert (applied is None) == (self.at == 0)
        self.at = max(0, self.at - 1)

    @rule()
    def redo(self):
        applied = self.project.redo(self.image_id)
        assert (applied is None) == (self.at == len(self.states) - 1)
        self.at = min(len(self.states) - 1, self.at + 1)

    @rule(removed=classes, into=st.integers(-1, 4))
    def merge(self, removed, into):
        if removed == into or not self.stands(removed) or (into != -1 and not self.stands(into)):
            return
        self.merges.append(self.project.merge_classes(removed, into))

    @precondition(lambda self: self.merges)
    @rule()
    def undo_merge(self):
        self.project.undo_merge(self.merges.pop().id)

    @rule()
    def reopen(self):
        self.project.close()
        self.project = Project.open(self._folder.name)

    @invariant()
    def pixels_are_those_of_the_model(self):
        shown = self.shown(self.states[self.at])
        labels = self.project.load_labels(self.image_id).array
        assert np.array_equal(labels, shown)
        counts = np.bincount(shown.ravel(), minlength=256)
        assert self.project.class_pixels(self.image_id) == {
            index: int(counts[index]) for index in range(5) if counts[index]
        }


ProjectMachine.TestCase.settings = settings(max_examples=15, stateful_step_count=15, deadline=None)
TestProjectMachine = ProjectMachine.TestCase
