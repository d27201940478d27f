"""Values of switches and probe options, as people write them, and what is said of those there are not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from segstudio.core.errors import UserError
from segstudio.plugin_api import Query
from segstudio.worker.engine import Engine
from segstudio.worker.model_ref import ModelRef


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine([], device="cpu")


@pytest.fixture(scope="module")
def image() -> NDArray[np.uint8]:
    return np.random.RandomState(0).randint(0, 255, (64, 96, 3)).astype(np.uint8)


def _ref(name: str, **switches: Any) -> ModelRef:
    return ModelRef(f"segstudio_zoo/{name}", num_classes=3, switches=switches, untrained=True)


@pytest.mark.parametrize(
    ("name", "switch", "word", "value"),
    [
        ("pspnet_r18-d8", "psp_scales", "1", "1"),
        ("pspnet_r18-d8", "multi_grid", "1,2,1", "1,2,1"),
        ("bisenetv2", "bisenetv2_branch", "Without Detail", "without detail"),
        ("pointrend_r50", "subdivision", "0", 0),
    ],
)
def test_words_set_the_value_that_is_written_so(
    engine: Engine, image: NDArray[np.uint8], name: str, switch: str, word: str, value: Any
) -> None:
    told = engine.predict(_ref(name, **{switch: word}), image)
    assert told.not_as_trained
    meant = engine.predict(_ref(name, **{switch: value}), image)
    assert (told.confidence == meant.confidence).all()


def test_the_word_for_the_trained_value_is_no_change(engine: Engine, image: NDArray[np.uint8]) -> None:
    assert not engine.predict(_ref("pointrend_r50", subdivision="-1"), image).not_as_trained


@pytest.mark.parametrize(
    ("name", "switch", "value", "sentence"),
    [
        ("bisenetv2", "bisenetv2_branch", "bogus", "'bogus'.*both, without detail, without semantic"),
        ("gcnet_r50-d8", "gc_pooling", "max", "gc_pooling cannot be 'max'.*as built, average"),
        ("gcnet_r50-d8", "gc_block", 2, "gc_block cannot be 2.*True, False"),
        ("pspnet_r18-d8", "psp_scales", "4", r"psp_scales cannot be '4'.*all, \(nothing\), 1, 2, 3, 6"),
        ("pointrend_r50", "subdivision", 1.5, "subdivision cannot be 1.5.*-1, 0, 1, 2, 3, 4"),
        ("pointrend_r50", "subdivison", 1, "no switch 'subdivison'.*subdivision"),
    ],
)
def test_what_a_switch_cannot_be_is_refused(
    engine: Engine, image: NDArray[np.uint8], name: str, switch: str, value: Any, sentence: str
) -> None:
    with pytest.raises(UserError, match=sentence):
        engine.predict(_ref(name, **{switch: value}), image)


@pytest.mark.parametrize(
    ("name", "options", "switch", "value", "sentence"),
    [
        ("dpt_vit-b16", {"readout": "ignore"}, "readout", "off", "ignores the read-out token already"),
        (
            "gcnet_r50-d8",
            {"preset": "se"},
            "gc_pooling",
            "average",
            "averages over all cells as it was built",
        ),
    ],
)
def test_a_part_that_this_network_lacks_cannot_be_turned_off(
    engine: Engine, image: NDArray[np.uint8], name: str, options: Any, switch: str, value: str, sentence: str
) -> None:
    ref = ModelRef(
        f"segstudio_zoo/{name}", num_classes=3, options=options, switches={switch: value}, untrained=True
    )
    with pytest.raises(UserError, match=f"switch {switch}: .*{sentence}") as raised:
        engine.predict(ref, image)
    assert "Traceback" not in raised.value.details


@pytest.mark.parametrize(
    ("probe", "options", "sentence"),
    [
        ("box", {"height": -2}, "option 'height' is an integer from 7 to 9999, not -2"),
        ("box", {"show": "logits"}, "option 'show' is one of 'class', 'uncertainty', not 'logits'"),
        ("points", {"step": 1.5}, "option 'step' is an integer of at least 0, not 1.5"),
        ("points", {"steps": 1}, "no option 'steps'.*step"),
    ],
)
def test_what_a_probe_s_option_cannot_be_is_refused(
    engine: Engine, image: NDArray[np.uint8], probe: str, options: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(UserError, match=sentence):
        engine.probe(_ref("pointrend_r50"), probe, Query("pixel", 20, 30), options, image=image)
