"""Writing labels for other programs, in a reader process of its own: it opens the project for reading only.

Two steps, so that a person is told what a format cannot hold before anything of theirs is touched.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from segstudio.core.formats import find_format
from segstudio.core.label_export import deliver, look_at_delivery, stage_labels
from segstudio.core.project import Project
from segstudio.core.staging import drop_staging, make_staging
from segstudio.worker.control import Control


def stage_export(arguments: dict[str, Any], control: Control) -> Mapping[str, Any]:
    """`folder` of the project, `format`, `images` (ids), `unlabelled`, `target`, `staging` -> labels aside.

    `staging` is made here, and removed where this fails or is cancelled. The answer: `images` written,
    `files`, `bytes`, `replaced` (names that lie in the target already), `notes` [file, what].
    """
    target, staging = Path(arguments["target"]), Path(arguments["staging"])
    images = frozenset(int(number) for number in arguments["images"])
    entry = find_format(arguments["format"])
    project = Project.open(Path(arguments["folder"]), read_only=True)
    try:
        try:
            make_staging(staging)

            def tell(done: int, name: str) -> None:
                control.progress(done / max(1, len(images)), name)

            report = stage_labels(
                project,
                staging,
                entry,
                images=images,
                unlabelled=bool(arguments["unlabelled"]),
                progress=tell,
            )
            control.check()
            found = look_at_delivery(project, staging, target)
        except BaseException:
            drop_staging(staging)
            raise
    finally:
        project.close()
    return {
        "images": report.done,
        "files": found.files,
        "bytes": found.bytes,
        "replaced": list(found.replaced),
        "notes": [[note.file, note.what] for note in report.notes],
    }


def deliver_export(arguments: dict[str, Any], control: Control) -> Mapping[str, Any]:
    """Moves what `stage_export` wrote from `staging` to `target` -> `files`."""
    staging = Path(arguments["staging"])
    total = max(1, int(arguments["files"]))
    moved = deliver(staging, Path(arguments["target"]), lambda done: control.progress(done / total))
    drop_staging(staging)
    return {"files": moved}
