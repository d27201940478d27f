"""A file of weights that a person opens: which network it belongs to, and under which class names it runs.

The worker looks into the file; the window never does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PySide6.QtCore import QObject, Signal

from segstudio.core.taxonomies import first_classes, load_taxonomy, taxonomy_names
from segstudio.plugin_api import ModelSpec, Taxonomy
from segstudio.runtime.call import Call
from segstudio.runtime.model_shelf import ModelShelf
from segstudio.runtime.worker_client import WorkerClient

SUFFIXES = (".safetensors", ".pth", ".pt", ".bin", ".ckpt")
_AT_ONCE = 60


@dataclass(frozen=True)
class Candidate:
    """One network a file fits. `options` hold what this file's layout has otherwise than the network."""

    spec: ModelSpec
    num_classes: int | None
    layout: str
    options: dict[str, Any]


@dataclass(frozen=True)
class Findings:
    """What lies in a file. `candidates` are the networks it can run as, the surest first.

    `others` names what was recognised but cannot run by itself, such as a backbone; `published` is
    (model, checkpoint) where the file is a listed one; `named` says that the file brings class names.
    `pretraining` is the title of the way of pre-training whose weights these are, or empty.
    """

    path: Path
    candidates: tuple[Candidate, ...]
    others: tuple[str, ...]
    tensors: int
    named: bool
    published: tuple[str, str] | None
    notes: tuple[str, ...]
    pretraining: str = ""

    def taxonomies(self, candidate: Candidate) -> tuple[Taxonomy, ...]:
        """Class lists of the right length, those of the network's own checkpoints first."""
        own = [checkpoint.taxonomy for checkpoint in candidate.spec.checkpoints]
        names = dict.fromkeys([candidate.spec.taxonomy, *own, *taxonomy_names()])
        known = [load_taxonomy(name) for name in names if name in taxonomy_names()]
        number = candidate.num_classes
        return tuple(entry for entry in known if number and first_classes(entry.classes, number) is not None)


class OpenedWeights(QObject):
    """Looks into one file at a time: `found(Findings)` or `failed(UserError)` ends each look."""

    found = Signal(object)
    failed = Signal(object)

    def __init__(self, shelf: ModelShelf, worker: WorkerClient, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._shelf = shelf
        self._worker = worker
        self._call: Call | None = None

    def open(self, path: Path) -> None:
        """Starts to look; a look under way is given up."""
        self.cancel()
        call = self._call = self._worker.request("identify", path=str(path), priority=_AT_ONCE)
        call.finished.connect(lambda values: self._take(call, path, values))
        call.failed.connect(lambda error: self._fail(call, error))

    def cancel(self) -> None:
        call, self._call = self._call, None
        if call is not None:
            call.cancel()

    def add(
        self,
        findings: Findings,
        candidate: Candidate,
        taxonomy: Taxonomy | None,
        then: Callable[[str], None],
    ) -> None:
        """Puts the file on the shelf; `then` gets the key under which it can be run from then on."""
        title = f"{candidate.spec.title} · {findings.path.stem}"
        ref = {
            "model": candidate.spec.id,
            "weights": str(findings.path),
            "checkpoint": None,
            "num_classes": candidate.num_classes,
            "options": candidate.options,
            "switches": {},
        }
        if taxonomy is not None:
            ref["taxonomy"] = taxonomy.id
        key = f"file:{findings.path}"
        self._shelf.add_file(findings.path, ref, title, then=lambda: then(key))

    def _take(self, call: Call, path: Path, values: dict[str, Any]) -> None:
        if call is not self._call:
            return
        self._call = None
        candidates, others = [], []
        for entry in values["found"]:
            spec = self._shelf.find(str(entry["model"])) if entry["model"] else None
            if spec is None or spec.unavailable:
                others.append(str(entry["name"]))
                continue
            number = entry["num_classes"]
            candidates.append(
                Candidate(
                    spec, None if number is None else int(number), str(entry["layout"]), entry["options"]
                )
            )
        published, pretraining = values.get("published"), values.get("pretraining")
        self.found.emit(
            Findings(
                path,
                () if pretraining else tuple(candidates),
                tuple(dict.fromkeys(others)),
                int(values["tensor_count"]),
                bool(values.get("classes")),
                (str(published["model"]), str(published["checkpoint"])) if published else None,
                tuple(values.get("notes", ())),
                str(pretraining["title"]) if pretraining else "",
            )
        )

    def _fail(self, call: Call, error: object) -> None:
        if call is self._call:
            self._call = None
            self.failed.emit(error)


def is_weights_file(path: Path) -> bool:
    """Whether a file that was dropped on the window looks like weights, by its name."""
    return path.is_file() and path.suffix.lower() in SUFFIXES
