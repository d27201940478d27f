"""Which model with which weights a request means."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from segstudio.plugin_api import Preprocess


@dataclass(frozen=True)
class ModelRef:
    """`model` is a spec's id. Weights are a file, or the id of one of the spec's checkpoints, or neither for
    a plugin that brings its own; `untrained` asks for drawn weights (benchmarks, tests, a start of training).

    `taxonomy` names the classes of weights that do not name them themselves. `switches` replace parts for
    one run only, `output` is the side output that is looked at ("" is the final one), `scale` is the size
    at which the network sees the picture (1 is its own), and `precision` is how it is computed ("" is the
    engine's own); none of them makes another model.
    """

    model: str
    weights: Path | None = None
    checkpoint: str | None = None
    num_classes: int | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    switches: Mapping[str, Any] = field(default_factory=dict)
    preprocess: Preprocess | None = None
    untrained: bool = False
    taxonomy: str = ""
    precision: str = ""
    output: str = ""
    scale: float = 1.0

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> ModelRef:
        """Raises ValueError where no model is named."""
        if not document.get("model"):
            raise ValueError(f"a reference to a model names no model: {dict(document)}")
        preprocess = document.get("preprocess")
        return cls(
            model=str(document["model"]),
            weights=Path(document["weights"]) if document.get("weights") else None,
            checkpoint=document.get("checkpoint") or None,
            num_classes=document.get("num_classes"),
            options={key: _option(value) for key, value in (document.get("options") or {}).items()},
            switches=dict(document.get("switches") or {}),
            preprocess=Preprocess(tuple(preprocess["mean"]), tuple(preprocess["std"]))
            if preprocess
            else None,
            untrained=bool(document.get("untrained", False)),
            taxonomy=str(document.get("taxonomy") or ""),
            precision=str(document.get("precision") or ""),
            output=str(document.get("output") or ""),
            scale=float(document.get("scale") or 1.0),
        )

    def key(self) -> str:
        """Equal for refs that mean the same loaded model; changes when the file of weights changes."""
        stamp: list[Any] = []
        if self.weights is not None and self.weights.exists():
            status = self.weights.stat()
            stamp = [str(self.weights.absolute()), status.st_size, status.st_mtime_ns]
        preprocess = [self.preprocess.mean, self.preprocess.std] if self.preprocess else None
        parts = [self.model, str(self.weights), stamp, self.checkpoint, self.num_classes, self.taxonomy]
        return json.dumps(
            [*parts, dict(self.options), preprocess, self.untrained],
            sort_keys=True,
            default=str,
        )


def _option(value: Any) -> Any:
    """JSON has no tuples; options that are several numbers are tuples to a plugin."""
    return tuple(value) if isinstance(value, list) else value
