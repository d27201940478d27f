"""All networks of all plugins with their published weights: what is here, what can be fetched.

Downloads run in a torch-free process of their own, so that pictures go on being decoded and masks computed
meanwhile; it lives as long as there is something to fetch. A window that is killed leaves the part of the
file that had arrived, and the next download goes on from there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from PySide6.QtCore import QObject, QTimer, Signal

from segstudio.core.checked_weights import another_file, known_finding
from segstudio.core.downloaded_weights import (
    checkpoint_folder,
    file_name,
    part_path,
    safetensors_copy,
)
from segstudio.core.errors import UserError
from segstudio.plugin_api import Checkpoint, ModelSpec
from segstudio.runtime.call import Call
from segstudio.runtime.jobs import Job, JobQueue
from segstudio.runtime.model_shelf import ModelShelf
from segstudio.runtime.runnable_models import RunnableModel
from segstudio.runtime.worker_client import WorkerClient

Kind = Literal["here", "absent", "part", "waiting", "fetching", "checking", "failed", "none", "unavailable"]
_FIRST = 40
MEGABYTE = 1_000_000


@dataclass(frozen=True)
class Offer:
    """One line of the list: a network with one of its published checkpoints, with weights that lie here
    already (`runnable`), or with neither: it can be trained, or says why it cannot run.
    """

    plugin: str
    spec: ModelSpec
    checkpoint: Checkpoint | None = None
    runnable: RunnableModel | None = None

    @property
    def key(self) -> str:
        if self.checkpoint is not None:
            return f"{self.spec.id}@{self.checkpoint.id}"
        return self.runnable.key if self.runnable is not None else self.spec.id

    @property
    def system(self) -> str:
        return self.spec.system or self.spec.title.partition(" · ")[0]

    @property
    def dataset(self) -> str:
        return (self.checkpoint.dataset or self.checkpoint.taxonomy) if self.checkpoint is not None else ""

    @property
    def miou(self) -> float | None:
        """In per cent, as the publisher reports it."""
        return dict(self.checkpoint.metrics).get("mIoU") if self.checkpoint is not None else None

    @property
    def can_fetch(self) -> bool:
        return self.checkpoint is not None and bool(self.checkpoint.url)

    @property
    def file(self) -> Path | None:
        """Where the fetched file lies or would lie."""
        if self.checkpoint is None or not self.checkpoint.url:
            return None
        return checkpoint_folder() / file_name(self.checkpoint)


@dataclass(frozen=True)
class Standing:
    """How an offer stands. `done` and `total` are bytes, 0 where unknown; `error` belongs to "failed"."""

    kind: Kind
    done: int = 0
    total: int = 0
    error: UserError | None = None

    @property
    def fraction(self) -> float | None:
        return self.done / self.total if self.total else None


class PublishedWeights(QObject):
    """Fetches at a person's wish; `standing_changed(key)` tells every step, `changed` a new list."""

    changed = Signal()
    standing_changed = Signal(str)
    arrived = Signal(object)  # RunnableModel that can be compared from now on

    def __init__(
        self, shelf: ModelShelf, worker: WorkerClient, jobs: JobQueue, parent: QObject | None = None
    ) -> None:
        super().__init__(parent)
        self._shelf = shelf
        self._worker = worker
        self._jobs = jobs
        self._client: WorkerClient | None = None
        self._offers: tuple[Offer, ...] | None = None
        self._files: dict[str, int] = {}
        self._at_work: dict[str, Standing] = {}
        self._failed: dict[str, Standing] = {}
        self._calls: dict[str, Job] = {}
        self._standings: dict[str, Standing] = {}
        self._is_watched = False
        shelf.changed.connect(self._shelf_changed)
        self._look()

    # -- what there is -------------------------------------------------------------------------------

    @property
    def offers(self) -> tuple[Offer, ...]:
        """Every network of every plugin: one line for each of its weights, one for a network without."""
        if self._offers is None:
            self._offers = tuple(self._make_offers())
        return self._offers

    def standing(self, offer: Offer) -> Standing:
        """How an offer stands; a table may ask for it at every paint."""
        found = self._standings.get(offer.key)
        if found is None:
            found = self._standings[offer.key] = self._find_standing(offer)
        return found

    def _find_standing(self, offer: Offer) -> Standing:
        key = offer.key
        if key in self._at_work:
            return self._at_work[key]
        if offer.spec.unavailable:
            return Standing("unavailable")
        if offer.runnable is not None:
            return Standing("here", done=_size(str(offer.runnable.ref.get("weights") or "")))
        if offer.checkpoint is None:
            return Standing("none")
        if offer.checkpoint.path and Path(offer.checkpoint.path).is_file():
            return Standing("here", done=_size(offer.checkpoint.path))
        name = file_name(offer.checkpoint) if offer.checkpoint.url else ""
        if key in self._failed:
            return replace(self._failed[key], done=self._files.get(part_path(Path(name)).name, 0))
        if name in self._files:
            return self._compared(offer.checkpoint, checkpoint_folder() / name, self._files[name])
        part = self._files.get(part_path(Path(name)).name, 0)
        return Standing("part", done=part) if part else Standing("absent")

    def job(self, offer: Offer) -> Job | None:
        """The download under way."""
        return self._calls.get(offer.key)

    def runnable(self, offer: Offer) -> RunnableModel | None:
        """What Compare runs, where the weights are here."""
        if offer.runnable is not None:
            return offer.runnable
        return next((model for model in self._shelf.runnable if model.key == offer.key), None)

    def find(self, model: str, checkpoint: str) -> Offer | None:
        key = f"{model}@{checkpoint}"
        return next((offer for offer in self.offers if offer.key == key), None)

    def refresh(self) -> None:
        """Looks at the folder again: somebody may have put a file there by hand.

        Files that were not compared with their checksum yet are handed to the worker, one job each.
        """
        before = dict(self._files)
        self._look()
        fresh = set(self._files) - set(before)
        for offer in self.offers:
            if offer.key in self._failed and offer.file is not None and self._is_new(offer, fresh):
                del self._failed[offer.key]
                self._standings.pop(offer.key, None)
        if self._files != before:
            self._shelf.weights_changed()
        self._is_watched = True
        self._check_new()

    def _is_new(self, offer: Offer, fresh: set[str]) -> bool:
        """Whether another file than before lies under the published name."""
        path, checkpoint = offer.file, offer.checkpoint
        assert path is not None and checkpoint is not None
        return path.name in fresh or (path.name in self._files and known_finding(checkpoint, path) is None)

    # -- verbs ---------------------------------------------------------------------------------------

    def fetch(self, offer: Offer) -> Job | None:
        """Starts or goes on with a download; gives its job, which the drawer shows. None without address."""
        checkpoint = offer.checkpoint
        if checkpoint is None or not checkpoint.url:
            return None
        if offer.key in self._calls:
            return self._calls[offer.key]
        if self._client is None:
            self._client = WorkerClient(reader=True, parent=self)
        fields = {"id": checkpoint.id, "url": checkpoint.url, "sha256": checkpoint.sha256}
        call = self._client.request("fetch", checkpoint={**fields, "bytes": checkpoint.bytes})
        job = Job(f"Fetch {title_of(offer)}", unit="MB", on_cancel=call.cancel, on_force_stop=call.force_stop)
        self._calls[offer.key] = job
        self._failed.pop(offer.key, None)
        self._jobs.add(job)
        job.changed.connect(lambda: self._tell_cancelling(offer.key, job))
        progress = _Progress(job)
        self._set(offer, Standing("waiting"))

        def tell(fraction: float, words: str) -> None:
            done, total = (int(part) for part in words.split())
            progress.tell(done, total)
            self._set(offer, Standing("fetching", done, total))

        call.progressed.connect(tell)
        call.finished.connect(lambda _values: self._fetched(offer, job))
        call.failed.connect(lambda error: self._end(offer, error))
        call.cancelled.connect(lambda: self._cancelled(offer))
        return job

    def remove(self, offer: Offer) -> None:
        """Takes a fetched file and its copy off the disk, or forgets a file that was opened by hand."""
        if offer.runnable is not None and offer.runnable.origin == "file":
            self._shelf.forget_file(Path(str(offer.runnable.ref["weights"])))
            return
        path = offer.file
        if path is None or offer.key in self._calls:
            return
        for each in {path, safetensors_copy(path), part_path(path)}:
            each.unlink(missing_ok=True)
        self._failed.pop(offer.key, None)
        self.refresh()

    def close(self) -> None:
        """Ends downloads at once; what had arrived is kept for the next time."""
        client, self._client = self._client, None
        if client is not None:
            client.close()

    # -- steps ---------------------------------------------------------------------------------------

    def _fetched(self, offer: Offer, job: Job) -> None:
        """The file is whole: tried on its network, it gets a copy that knows its classes."""
        self._try(offer, job)

    def _check_new(self) -> None:
        """Compares and tries files that nobody fetched here, and that were not compared before."""
        for offer in self.offers:
            checkpoint, path = offer.checkpoint, offer.file
            if checkpoint is None or path is None or path.name not in self._files or offer.spec.unavailable:
                continue
            if offer.key in self._calls or offer.key in self._failed:
                continue
            if known_finding(checkpoint, path) is None:
                job = Job(f"Check {title_of(offer)}")
                self._calls[offer.key] = job
                self._jobs.add(job)
                job.changed.connect(lambda key=offer.key, job=job: self._tell_cancelling(key, job))
                job.begin()
                self._try(offer, job)

    @staticmethod
    def _compared(checkpoint: Checkpoint, path: Path, size: int) -> Standing:
        """How a file in the folder stands: "checking" until the worker has compared it."""
        finding = known_finding(checkpoint, path)
        if finding is False:
            return Standing("failed", done=size, error=another_file(checkpoint, path))
        return Standing("here" if finding else "checking", done=size)

    def _try(self, offer: Offer, job: Job) -> None:
        """Compares the file, loads it into its network, and writes its copy, all in the worker."""
        assert offer.checkpoint is not None
        self._set(offer, Standing("checking"))
        job.report(None, "trying it on its network")
        call: Call = self._worker.request(
            "adopt", model=offer.spec.id, checkpoint=offer.checkpoint.id, priority=_FIRST
        )
        job.hand_over(on_cancel=call.cancel, on_force_stop=call.force_stop)
        call.finished.connect(lambda _values: self._end(offer))
        call.failed.connect(lambda error: self._end(offer, error))
        # The file itself is here, whether or not its copy was made.
        call.cancelled.connect(lambda: self._end(offer))

    def _tell_cancelling(self, key: str, job: Job) -> None:
        """Cancelled here or in the drawer: it shows in both places in the same frame."""
        if job.state == "cancelling":
            self.standing_changed.emit(key)

    def _cancelled(self, offer: Offer) -> None:
        job = self._leave(offer)
        job.end_cancelled()

    def _end(self, offer: Offer, error: UserError | None = None) -> None:
        if error is None:
            # Here it is when the shelf has it: from then on "Show in Compare" finds something to show.
            self._shelf.weights_changed(lambda: self._arrive(offer))
            return
        self._failed[offer.key] = Standing("failed", error=error)
        self._leave(offer).fail(error)
        self._shelf.weights_changed()  # a file that is another than the published one is offered no longer

    def _arrive(self, offer: Offer) -> None:
        if offer.key not in self._calls:
            return
        self._leave(offer).finish()
        arrived = self.runnable(offer)
        if arrived is not None:
            self.arrived.emit(arrived)

    def _leave(self, offer: Offer) -> Job:
        job = self._calls.pop(offer.key)
        self._at_work.pop(offer.key, None)
        self._look()
        self.standing_changed.emit(offer.key)
        if not self._calls:
            QTimer.singleShot(0, self, self._rest)
        return job

    def _rest(self) -> None:
        """Nothing is being fetched: its process ends."""
        if not self._calls:
            self.close()

    def _set(self, offer: Offer, standing: Standing) -> None:
        self._at_work[offer.key] = standing
        self._standings.pop(offer.key, None)
        self.standing_changed.emit(offer.key)

    def _look(self) -> None:
        folder = checkpoint_folder()
        self._standings.clear()
        self._files = {entry.name: entry.stat().st_size for entry in folder.iterdir() if entry.is_file()}

    def _shelf_changed(self) -> None:
        self._offers = None
        self._look()
        if self._is_watched:
            self._check_new()
        self.changed.emit()

    def _make_offers(self) -> Iterator[Offer]:
        local: dict[str, list[RunnableModel]] = {}
        for model in self._shelf.runnable:
            if model.origin != "checkpoint":
                local.setdefault(str(model.ref["model"]), []).append(model)
        for plugin in self._shelf.plugins:
            for spec in plugin.models:
                here = local.get(spec.id, ())
                for model in here:
                    yield Offer(plugin.title, spec, runnable=model)
                for checkpoint in spec.checkpoints:
                    yield Offer(plugin.title, spec, checkpoint)
                if not here and not spec.checkpoints:
                    yield Offer(plugin.title, spec)


class _Progress:
    """Bytes as the job tells them; the rate counts what arrived this time, not what an earlier try left."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._before: int | None = None

    def tell(self, done: int, total: int) -> None:
        if self._before is None:
            self._before = done
            self._job.begin(at=done / total if total else 0.0)
        words = f"{megabytes(done)} of {megabytes(total)}" if total else megabytes(done)
        arrived = (done - self._before) / MEGABYTE
        self._job.report(done / total if total else None, words, done=arrived)


def title_of(offer: Offer) -> str:
    """The network with what it was trained on, such as "CCNet · R50 · Cityscapes"."""
    if offer.runnable is not None:
        return offer.runnable.title
    return f"{offer.spec.title} · {offer.dataset}" if offer.dataset else offer.spec.title


def megabytes(number: int) -> str:
    """Such as "187 MB"; one decimal below ten."""
    amount = number / MEGABYTE
    return f"{amount:.1f} MB" if amount < 10 else f"{amount:.0f} MB"


def _size(path: str) -> int:
    try:
        return Path(path).stat().st_size if path else 0
    except OSError:
        return 0
