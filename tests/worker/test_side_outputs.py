"""Side outputs through the engine: what a network supervises beside its final scores is seen like a mask."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch.nn import functional

from segstudio.core.errors import UserError
from segstudio.plugin_api import Query
from segstudio.worker.engine import Engine
from segstudio.worker.inference import Network, pad, padded_size
from segstudio.worker.loaded_models import count_flops
from segstudio.worker.model_ref import ModelRef
from tests.worker.plugins_for_tests import HOSTILE, write_plugin
from tests.worker.test_engine import picture

SMALL = {"width": 0.25, "channels": 16}
DANET = ModelRef("segstudio_zoo/danet_mobilenet-v2-d8", num_classes=5, options=SMALL, untrained=True)
SIDES = ("position", "channel", "auxiliary")


@pytest.fixture(autouse=True)
def one_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("SEGSTUDIO_HOME", str(tmp_path / "home"))
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)  # untrained weights are drawn
    yield
    torch.set_num_threads(before)


@pytest.fixture
def engine() -> Engine:
    """Its DANet sees something: classifiers as they are drawn say nearly one class everywhere."""
    made = Engine(device="cpu")
    return with_classifiers(made)


def with_classifiers(engine: Engine) -> Engine:
    generator = torch.Generator().manual_seed(5)
    for name, tensor in engine.load(DANET).model.state_dict().items():
        if "conv_seg" in name:
            tensor.zero_() if name.endswith("bias") else tensor.normal_(generator=generator)
    return engine


def textbook(engine: Engine, ref: ModelRef, image: NDArray[np.uint8]) -> torch.Tensor:
    """(K, H, W): the network's own `side_outputs`, padded before, resized and cropped after."""
    loaded = engine.load(replace(ref, output=""))
    size = padded_size(*image.shape[:2], loaded.spec)
    pixels = Network(loaded.model, loaded.spec, loaded.preprocess, loaded.device).tensor(pad(image, size))
    with torch.no_grad():
        found = loaded.model.side_outputs(pixels)[ref.output]
    full = functional.interpolate(found.logits, size, mode="bilinear", align_corners=found.align_corners)
    return full[0, :, : image.shape[0], : image.shape[1]]


@pytest.mark.parametrize("output", SIDES)
def test_the_mask_of_a_side_output_is_the_arg_max_of_its_resized_scores(engine: Engine, output: str) -> None:
    image, ref = picture(93, 130), replace(DANET, output=output)
    result = engine.predict(ref, image)
    full = textbook(engine, ref, image)
    top = full.topk(2, dim=0).values
    clear = ((top[0] - top[1]) > 1e-4 * full.abs().max()).numpy()
    assert clear.mean() > 0.9
    assert (result.label_map == full.argmax(0).numpy())[clear].all()
    assert result.confidence is not None
    assert np.abs(result.confidence - full.softmax(0).amax(0).numpy() * 255).max() <= 0.51
    assert not result.not_as_trained
    assert (result.label_map != engine.predict(DANET, image).label_map).any()


def test_one_loaded_model_gives_all_outputs(engine: Engine) -> None:
    loaded = [engine.load(replace(DANET, output=name)) for name in ("", *SIDES)]
    assert all(each is loaded[0] for each in loaded)


@pytest.mark.parametrize(
    "model",
    [
        "segstudio_zoo/danet_mobilenet-v2-d8",
        "segstudio_zoo/icnet_r18-d8",
        "segstudio_zoo/pointrend_r50",
        "segstudio_zoo/bisenetv2",
    ],
)
def test_folding_and_fusing_leave_side_outputs_as_they_are(model: str) -> None:
    image, final = picture(96, 128), ModelRef(model, num_classes=4, untrained=True)
    fast, plain = Engine(device="cpu"), Engine(device="cpu", optimise=False)
    for engine in (fast, plain):
        torch.manual_seed(1)
        engine.load(final)
    report, sides = fast.load(final).fold, fast.load(final).spec.side_outputs
    assert report is not None and report.folded and sides
    for name in sides:
        ref = replace(final, output=name)
        found, expected = fast.scores(ref, image).logits, plain.scores(ref, image).logits
        assert found.shape[1] == 4
        assert float((found - expected).abs().max()) <= 1e-4 * float(expected.abs().max())


def test_a_side_output_in_tiles_is_nearly_that_of_one_pass() -> None:
    image, ref = picture(400, 420), replace(DANET, output="auxiliary")
    whole = with_classifiers(Engine(device="cpu")).predict(ref, image)
    torch.manual_seed(0)
    tight = with_classifiers(Engine(device="cpu", memory=20_000_000)).predict(ref, image)
    assert whole.tiles == 1 and tight.tiles > 1
    assert (whole.label_map == tight.label_map).mean() > 0.8  # drawn weights see far and smooth little


def test_a_switch_and_an_output_go_together(engine: Engine) -> None:
    image, ref = picture(64, 64), replace(DANET, output="position")
    switch = engine.load(DANET).spec.switches[0]
    other = next(value for value in switch.choices if value != switch.trained)
    result = engine.predict(replace(ref, switches={switch.id: other}), image)
    assert result.not_as_trained
    assert not engine.predict(ref, image).not_as_trained


def test_what_is_kept_for_probes_comes_from_the_final_output(engine: Engine) -> None:
    image, ref = picture(64, 64), replace(DANET, output="auxiliary")
    engine.predict(ref, image, keep=True, key="a")
    assert not engine.has_kept(DANET, "a")
    engine.predict(DANET, image, keep=True, key="a")
    probe = engine.load(DANET).spec.probes[0]
    options = {option.name: option.default for option in probe.options}
    shown, _ = engine.probe(DANET, probe.id, Query(probe.query, 20, 30), options, key="a")
    beside, _ = engine.probe(ref, probe.id, Query(probe.query, 20, 30), options, key="a")
    assert np.array_equal(shown.values, beside.values)


def test_cost_is_told_for_the_output_that_ran(engine: Engine) -> None:
    loaded = engine.load(DANET)
    final, side = count_flops(loaded, 64, 64), count_flops(loaded, 64, 64, "auxiliary")
    assert final and side and final != side
    image = picture(64, 64)
    assert engine.predict(DANET, image).first_of_size
    assert engine.predict(replace(DANET, output="auxiliary"), image).first_of_size
    assert not engine.predict(replace(DANET, output="auxiliary"), image).first_of_size
    assert engine.forward_seconds(replace(DANET, output="auxiliary"), (64, 64))


def test_agreement_of_a_lower_precision_is_that_of_the_output(engine: Engine) -> None:
    ref = replace(DANET, output="position")
    result = engine.predict(ref, picture(64, 64), precision="bfloat16")
    assert result.agreement is not None
    assert set(engine.load(ref, precision="bfloat16").agreements) == {"position"}


def test_an_unknown_output_is_refused_naming_those_there_are(engine: Engine) -> None:
    with pytest.raises(UserError, match=r"no output 'middle'\. It has the final one, position, channel and"):
        engine.load(replace(DANET, output="middle"))
    bare = ModelRef("segstudio_zoo/sem_fpn_r50", num_classes=3, untrained=True, output="auxiliary")
    with pytest.raises(UserError, match=r"no output 'auxiliary'\. It has only the final one$"):
        engine.load(bare)


def test_weights_without_that_head_cost_a_sentence(engine: Engine) -> None:
    ref = replace(DANET, options={**SMALL, "auxiliary": False}, output="auxiliary")
    with pytest.raises(UserError) as caught:
        engine.predict(ref, picture(64, 64))
    words = str(caught.value)
    assert "with these weights has no output 'auxiliary'. It has the final one, position and channel" in words


def test_a_plugin_that_is_no_network_has_only_its_answer(tmp_path: Path) -> None:
    engine = Engine([write_plugin(tmp_path, "hostile", HOSTILE)], device="cpu")
    with pytest.raises(UserError, match="no output 'auxiliary'"):
        engine.predict(ModelRef("hostile/good", output="auxiliary"), picture(8, 8))


def test_a_ref_carries_its_output_but_stays_the_same_model() -> None:
    ref = ModelRef.from_json({"model": DANET.model, "output": "channel"})
    assert ref.output == "channel"
    assert ref.key() == ModelRef(DANET.model).key()
