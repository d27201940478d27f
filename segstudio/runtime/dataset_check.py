"""Is the project fit to be trained on? Looked at before a run, each finding with what it is about.

Reads the project's own label counts and the bytes of image files; decodes nothing.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from segstudio.core.new_run import Split, labelled_images, readable_images, run_classes
from segstudio.core.project import Project
from segstudio.core.records import ImageRecord

Level = Literal["ok", "warn", "err"]
Fix = Literal["", "class_weights", "keep_in_validation"]

RARE_SHARE = 0.01


@dataclass(frozen=True)
class Finding:
    """One line of the check. `images` are the ids concerned; `fix` names what can be done about it."""

    level: Level
    title: str
    detail: str = ""
    fix: Fix = ""
    images: tuple[int, ...] = ()


@dataclass(frozen=True)
class DatasetReport:
    """`train` and `val` count images; `classes` are what a run would learn.

    `pictures` counts the images of a run that needs no labels, for training and for validation.
    """

    train: int
    val: int
    classes: int
    findings: tuple[Finding, ...]
    size: tuple[int, int] | None = None
    pictures: tuple[int, int] = (0, 0)

    @property
    def can_train(self) -> bool:
        return not any(finding.level == "err" for finding in self.findings)


def check_dataset(project: Project) -> DatasetReport:
    """Looks at everything labelled; takes about as long as reading the image files once."""
    chosen = labelled_images(project)
    classes, mapping = run_classes(project)
    pixels: dict[Split, Counter[int]] = {"train": Counter(), "val": Counter()}
    for record, split in chosen:
        for identifier, count in project.class_pixels(record.id).items():
            if identifier in mapping:
                pixels[split][mapping[identifier]] += count
    counts = Counter(split for _, split in chosen)
    names = [entry.name for entry in classes]
    findings = [
        _labelled(chosen, len(project.images()), len(names)),
        _sizes(chosen),
        *_missing(names, pixels, has_validation=counts["val"] > 0),
        *_rare(names, pixels["train"]),
        *_duplicates(project, chosen),
    ]
    sizes = Counter((r.width, r.height) for r, _ in chosen if r.width and r.height)
    common = sizes.most_common(1)[0][0] if sizes else None
    size = (common[0], common[1]) if common and common[0] and common[1] else None
    every = Counter(split for _, split in readable_images(project))
    return DatasetReport(
        counts["train"],
        counts["val"],
        len(names),
        tuple(findings),
        size=size,
        pictures=(every["train"], every["val"]),
    )


def _labelled(chosen: list[tuple[ImageRecord, Split]], total: int, classes: int) -> Finding:
    if classes < 2:
        return Finding("err", "Fewer than two classes", "a network tells at least two classes apart")
    if not chosen:
        return Finding("err", "No labelled images", "paint or import labels first")
    if not any(split == "train" for _, split in chosen):
        return Finding("err", "No training images", "all labelled images are set aside for validation")
    if not any(split == "val" for _, split in chosen):
        return Finding("warn", "No validation images", "nobody will see how good the network gets")
    return Finding("ok", "Labels", f"{len(chosen)} of {total} images have some")


def _sizes(chosen: list[tuple[ImageRecord, Split]]) -> Finding:
    sizes = sorted({(r.width, r.height) for r, _ in chosen if r.width and r.height})
    if len(sizes) > 1:
        low, high = sizes[0], sizes[-1]
        return Finding("ok", "Sizes", f"{len(sizes)} sizes, {low[0]} × {low[1]} to {high[0]} × {high[1]}")
    if sizes:
        return Finding("ok", "Sizes", f"all images are {sizes[0][0]} × {sizes[0][1]}")
    return Finding("ok", "Sizes", "read when the run is made")


def _missing(names: list[str], pixels: dict[Split, Counter[int]], *, has_validation: bool) -> list[Finding]:
    found = []
    unlearned = [name for index, name in enumerate(names) if not pixels["train"][index]]
    if unlearned:
        found.append(Finding("warn", f"{_list(unlearned)} in no training image", "cannot be learned"))
    unseen = [name for index, name in enumerate(names) if not pixels["val"][index] and pixels["train"][index]]
    if unseen and has_validation:
        found.append(Finding("warn", f"{_list(unseen)} in no validation image", "its IoU stays unknown"))
    if not found and has_validation:
        found.append(Finding("ok", "Classes", f"all {len(names)} occur in both splits"))
    return found


def _rare(names: list[str], pixels: Counter[int]) -> list[Finding]:
    total = sum(pixels.values())
    rare = [
        (pixels[index] / total, name)
        for index, name in enumerate(names)
        if total and 0 < pixels[index] < RARE_SHARE * total
    ]
    if not rare:
        return []
    share, name = min(rare)
    more = f" and {len(rare) - 1} more" if len(rare) > 1 else ""
    title = f"{name} covers {100 * share:.1f} % of the pixels{more}"
    return [Finding("warn", title, "weights by frequency would help", "class_weights")]


def _duplicates(project: Project, chosen: list[tuple[ImageRecord, Split]]) -> list[Finding]:
    """Files of equal content; only files of equal length are read."""
    by_length: dict[int, list[tuple[ImageRecord, Split, Path]]] = defaultdict(list)
    for record, split in chosen:
        path = project.image_path(record.id)
        try:
            by_length[path.stat().st_size].append((record, split, path))
        except OSError:
            return [Finding("err", f"{record.display_name} is gone", "it is labelled, but there is no file")]
    groups: dict[bytes, list[tuple[ImageRecord, Split]]] = defaultdict(list)
    for entries in by_length.values():
        if len(entries) > 1:
            for record, split, path in entries:
                with path.open("rb") as file:
                    digest = hashlib.file_digest(file, "sha256").digest()
                groups[digest].append((record, split))
    equal = [group for group in groups.values() if len(group) > 1]
    leaking = [group for group in equal if len({split for _, split in group}) == 2]
    if leaking:
        names = _list([group[0][0].display_name for group in leaking])
        ids = tuple(record.id for group in leaking for record, split in group if split == "train")
        title = f"{len(leaking)} image{'s' if len(leaking) > 1 else ''} in both splits"
        return [Finding("warn", title, names, "keep_in_validation", ids)]
    if equal:
        return [
            Finding("warn", f"{len(equal)} images occur twice", _list([g[0][0].display_name for g in equal]))
        ]
    return [Finding("ok", "Duplicates", "none")]


def _list(names: list[str], most: int = 3) -> str:
    shown = ", ".join(names[:most])
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown
