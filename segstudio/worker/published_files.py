"""A published checkpoint on its way into its network: compared with its checksum, copied with its facts.

The copy loads faster, and knows its network, classes and preprocessing wherever it is taken.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from segstudio.core.checked_weights import check
from segstudio.core.downloaded_weights import bundled, downloaded, safetensors_copy
from segstudio.core.weights_facts import WeightsFacts
from segstudio.plugin_api import Checkpoint
from segstudio.worker.checkpoints import WeightsFile, write_weights

if TYPE_CHECKING:
    from segstudio.worker.loaded_models import LoadedModel


def usable_file(checkpoint: Checkpoint) -> tuple[Path | None, Path | None]:
    """The file to read, and where a copy of it is still to be written (None where there is nothing to do).

    A file under a published name, fetched or put there by hand, is compared with its checksum first, once;
    a copy that lies beside a file never compared before is not believed. Raises UserError where it is
    another file.
    """
    path = bundled(checkpoint)
    if path is not None:
        return path, None
    path = downloaded(checkpoint) if checkpoint.url else None
    if path is None:
        return None, None
    is_new = check(checkpoint, path)
    copy = safetensors_copy(path)
    if copy == path:
        return path, None
    return (path, copy) if is_new or not copy.is_file() else (copy, None)


def write_copy(loaded: LoadedModel, weights: WeightsFile, checkpoint: Checkpoint, copy: Path) -> str:
    """Writes the tensors of a file that fits its network with what is known -> what to note, or ""."""
    spec = loaded.spec
    facts = WeightsFacts(
        model=spec.id,
        title=f"{spec.title} · {checkpoint.dataset}" if checkpoint.dataset else spec.title,
        num_classes=loaded.num_classes,
        options=dict(loaded.options),
        preprocess=loaded.preprocess,
        classes=loaded.classes,
    )
    try:
        write_weights(copy, weights.tensors, facts)
    except OSError as error:
        copy.unlink(missing_ok=True)
        return f"The copy of the checkpoint cannot be written to {copy} ({error})"
    return ""
