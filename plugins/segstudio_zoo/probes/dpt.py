"""What a person can look at and switch off in DPT: the read-out token's attention, the read-out, the taps."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

from segstudio.plugin_api import ProbeMap, Query
from segstudio_zoo.layers.attention_probe import AttentionProbe, CapturedAttention, attention_map
from segstudio_zoo.segmentors.dpt import DPTHead


class ReadoutProbe(AttentionProbe):
    """Attention of the read-out token in the block that a tap reads."""

    def __init__(self) -> None:
        super().__init__(lambda model: model.get_submodule("backbone"))

    @contextmanager
    def attach(self, model: nn.Module) -> Iterator[CapturedAttention]:
        """While open, a run of `model` fills what is returned."""
        self.taps = model.get_submodule("backbone").taps
        with super().attach(model) as captured:
            yield captured

    def map(self, captured: CapturedAttention, query: Query, *, tap: int = 4, head: int = 0) -> ProbeMap:  # type: ignore[override]
        """`tap` 1 to 4, early to late; `head` counts from 1, 0 is the mean over heads.

        The hybrid's first taps are convolutional and have no read-out token.
        """
        first = 5 - len(self.taps)
        if not first <= tap <= 4:
            raise ValueError(f"Tap {tap} has no read-out token; those of taps {first} to 4 can be shown.")
        site, record = captured.at(1, self.taps[tap - first] + 1)
        return attention_map(site, record, Query("global"), head=head)


def readout_probe() -> ReadoutProbe:
    """The probe, for the catalog to name."""
    return ReadoutProbe()


def _head(model: nn.Module) -> DPTHead:
    head = getattr(model, "decode_head", None)
    if not isinstance(head, DPTHead):
        raise ValueError("This model is no DPT.")
    return head


@contextmanager
def readout_switch(model: nn.Module, value: str) -> Iterator[None]:
    """The read-out token's term: as trained ("on") or zero ("off")."""
    if value not in ("on", "off"):
        raise ValueError(f"The read-out can be on or off, not {value!r}.")
    block = _head(model).reassemble_blocks
    if block.readout == "ignore" and value == "off":
        raise ValueError("this network ignores the read-out token already")
    before = block.use_readout
    try:
        block.use_readout = value == "on"
        yield
    finally:
        block.use_readout = before


@contextmanager
def tap_switch(model: nn.Module, value: int) -> Iterator[None]:
    """Leaves the map of one tap out, 1 (early, high resolution) to 4 (late); 0 keeps all."""
    if value not in (0, 1, 2, 3, 4):
        raise ValueError(f"Taps are 1 to 4, 0 for none, not {value!r}.")
    head = _head(model)
    before = head.dropped
    try:
        head.dropped = value - 1 if value else None
        yield
    finally:
        head.dropped = before
