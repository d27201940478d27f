"""A run folder: everything about one training run, readable by any program.

The window reaches a run only through this folder and a run reaches the window only through it, so that
either may be restarted, killed or moved to another computer without the other noticing.

    run.toml         the complete recipe
    dataset.jsonl    one line a sample: image, label (its own copy in labels/), split, width, height
    state.json       queued, running, paused, failed or done; reason; progress
    lease.json       which process is at work (run_lease.py)
    events.jsonl     losses, validations, previews, in order
    stop, pause      a person's wish: "epoch" (at the end of this epoch) or "now"
    checkpoints/     resume.pt, last.safetensors, best.safetensors, each with a .json beside it
    previews/        the same validation images, epoch after epoch
    log.txt  environment.json  tensorboard/
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from segstudio.core import atomic_file
from segstudio.core.errors import UserError
from segstudio.core.recipe import Recipe, read_recipe, write_recipe

STATES = ("queued", "running", "paused", "failed", "done")
Wish = Literal["stop", "pause"]
When = Literal["epoch", "now"]


@dataclass(frozen=True)
class Sample:
    """One picture of a run. Paths are absolute, or relative to the run folder."""

    image: str
    label: str
    split: Literal["train", "val"]
    width: int = 0
    height: int = 0
    page: int = 0


class RunFolder:
    """Paths, readers and writers of one run folder. Holds no state but the path."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path).absolute()

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def exists(self) -> bool:
        return (self.path / "run.toml").is_file()

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def labels(self) -> Path:
        return self.path / "labels"

    @property
    def previews(self) -> Path:
        return self.path / "previews"

    @property
    def log(self) -> Path:
        return self.path / "log.txt"

    @property
    def events_path(self) -> Path:
        return self.path / "events.jsonl"

    @classmethod
    def create(cls, path: Path | str, recipe: Recipe, samples: Sequence[Sample]) -> RunFolder:
        """Writes a new queued run; label copies must already lie where `samples` say.

        Raises UserError where the folder already holds a run or there is nothing to train on.
        """
        folder = cls(path)
        if folder.exists:
            raise UserError("There is already a run", where=str(folder.path), action="Choose a new folder.")
        if not any(sample.split == "train" for sample in samples):
            kind = "images to train on" if recipe.task == "pretraining" else "training images with labels"
            raise UserError(f"There are no {kind}", where=str(folder.path))
        recipe.checked()
        for part in (folder.path, folder.checkpoints, folder.labels, folder.previews):
            part.mkdir(parents=True, exist_ok=True)
        lines = [json.dumps(asdict(sample), ensure_ascii=False) for sample in samples]
        atomic_file.write_bytes(folder.path / "dataset.jsonl", ("\n".join(lines) + "\n").encode())
        folder.write_state(state="queued", epoch=0, epochs=recipe.epochs, created=time.time())
        # The recipe comes last: a folder without it is no run, so a half-made one never starts.
        write_recipe(folder.path / "run.toml", recipe)
        return folder

    def recipe(self) -> Recipe:
        return read_recipe(self.path / "run.toml")

    def samples(self) -> tuple[Sample, ...]:
        """Raises UserError naming the line that does not fit."""
        path = self.path / "dataset.jsonl"
        try:
            lines = path.read_text("utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise UserError("The list of images cannot be read", where=str(path)) from error
        found = []
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                found.append(Sample(**json.loads(line)))
            except (ValueError, TypeError) as error:
                raise UserError(f"Line {number} does not fit: {error}", where=str(path)) from error
        return tuple(found)

    def resolve(self, path: str) -> Path:
        """A path of `dataset.jsonl` as an absolute one."""
        return self.path / path

    def state(self) -> dict[str, Any]:
        """The last written state; an empty one ("queued") where there is none yet."""
        try:
            document = json.loads((self.path / "state.json").read_text("utf-8"))
        except (OSError, ValueError):
            return {"state": "queued", "reason": ""}
        return document if isinstance(document, dict) else {"state": "queued", "reason": ""}

    def write_state(self, **changes: Any) -> dict[str, Any]:
        """Writes the state with `changes` over what it was; gives the whole of it."""
        document = {"state": "queued", "reason": "", **self.state(), **changes, "updated": time.time()}
        atomic_file.write_bytes(self.path / "state.json", json.dumps(document, indent=1).encode())
        return document

    def ask(self, wish: Wish, when: When = "now") -> None:
        """Leaves a person's wish for the running process."""
        atomic_file.write_bytes(self.path / wish, when.encode())

    def wish(self) -> tuple[Wish, When] | None:
        """What a person wants; a stop outweighs a pause."""
        for wish in ("stop", "pause"):
            try:
                text = (self.path / wish).read_text("utf-8").strip()
            except OSError:
                continue
            return wish, "epoch" if text == "epoch" else "now"
        return None

    def forget_wishes(self) -> None:
        for wish in ("stop", "pause"):
            (self.path / wish).unlink(missing_ok=True)

    def append_event(self, kind: str, **values: Any) -> None:
        """Adds one line in a single write, so that a reader sees whole lines or a torn last one."""
        line = json.dumps({"t": round(time.time(), 3), "kind": kind, **values}) + "\n"
        descriptor = os.open(self.events_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            os.write(descriptor, line.encode())
        finally:
            os.close(descriptor)

    def mend_events(self) -> None:
        """Cuts off a torn last line, so that the next event begins on its own."""
        try:
            with self.events_path.open("rb+") as file:
                content = file.read()
                if content and not content.endswith(b"\n"):
                    file.truncate(content.rfind(b"\n") + 1)
        except FileNotFoundError:
            return

    def events(self, start: int = 0) -> tuple[list[dict[str, Any]], int]:
        """The events from byte `start` and where to go on; a torn last line is left for the next call."""
        try:
            with self.events_path.open("rb") as file:
                file.seek(start)
                content = file.read()
        except OSError:
            return [], start
        whole = content[: content.rfind(b"\n") + 1]
        return list(_events(whole)), start + len(whole)


def _events(content: bytes) -> Iterator[dict[str, Any]]:
    for line in content.splitlines():
        try:
            event = json.loads(line)
        except ValueError:
            continue  # a line torn by a crash, later continued by the next process
        if isinstance(event, dict) and "kind" in event:
            yield event


def find_runs(folder: Path) -> list[RunFolder]:
    """All run folders directly inside `folder`, oldest first by name."""
    if not folder.is_dir():
        return []
    return [run for entry in sorted(folder.iterdir()) if (run := RunFolder(entry)).exists]


def next_run_name(folder: Path) -> str:
    """A free name for a new run: "run-0001", counted on from the highest there is."""
    numbers = [0]
    if folder.is_dir():
        for entry in folder.iterdir():
            head, _, number = entry.name.partition("-")
            if head == "run" and number.isdigit():
                numbers.append(int(number))
    return f"run-{max(numbers) + 1:04d}"
