"""The engine: any size, tiles that equal one pass, memory that runs out, probes in pixels of the image."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch.nn import functional

from segstudio.core.errors import UserError
from segstudio.core.taxonomies import load_taxonomy
from segstudio.core.weights_facts import WeightsFacts
from segstudio.plugin_api import Query
from segstudio.worker.control import Cancelled
from segstudio.worker.engine import Engine
from segstudio.worker.inference import Network, cut, make_plan, pad, padded_size
from segstudio.worker.loaded_models import class_table
from segstudio.worker.model_ref import ModelRef
from segstudio.worker.tiles import Tile, plan_tiles
from tests.worker.plugins_for_tests import HOSTILE, TINY, write_plugin


@pytest.fixture(autouse=True)
def one_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("SEGSTUDIO_HOME", str(tmp_path / "home"))
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def plugins(tmp_path: Path) -> list[Path]:
    return [write_plugin(tmp_path, "tiny", TINY), write_plugin(tmp_path, "hostile", HOSTILE)]


@pytest.fixture
def engine(plugins: list[Path]) -> Engine:
    return Engine(plugins, device="cpu")


def picture(height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    """A smooth random picture: a network's answer on noise would be noise."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand((1, 3, 2 + height // 16, 2 + width // 16), generator=generator)
    fine = functional.interpolate(coarse, (height, width), mode="bicubic").clamp(0, 1)
    pixels: NDArray[np.uint8] = (fine[0].permute(1, 2, 0) * 255).byte().numpy()
    return pixels


def plain_answer(engine: Engine, name: str, image: NDArray[np.uint8]) -> torch.Tensor:
    """Scores (K, H, W) as a textbook would compute them: pad, one pass, resize, crop."""
    loaded = engine.load(ModelRef(name))
    height, width = image.shape[:2]
    size = padded_size(height, width, loaded.spec)
    network = Network(loaded.model, loaded.spec, loaded.preprocess, loaded.device)
    scores = network.scores(pad(image, size))
    full = functional.interpolate(scores.logits, size, mode="bilinear", align_corners=scores.align_corners)
    return full[0, :, :height, :width]


@pytest.mark.parametrize("name", ["tiny/plain", "tiny/corners", "tiny/attention"])
@pytest.mark.parametrize("size", [(1, 1), (1, 9), (3, 2), (8, 8), (61, 47), (130, 257)])
def test_class_map_confidence_and_entropy_equal_the_textbook(
    engine: Engine, name: str, size: tuple[int, int]
) -> None:
    image = picture(*size)
    result = engine.predict(ModelRef(name), image, entropy=True)
    full = plain_answer(engine, name, image)
    probabilities = torch.softmax(full, dim=0)
    best = probabilities.max(dim=0).values
    top = full.topk(2, dim=0).values
    clear = ((top[0] - top[1]) > 1e-4).numpy()
    assert result.label_map.shape == size
    assert (result.label_map == full.argmax(dim=0).numpy())[clear].all()
    assert result.confidence is not None and result.entropy is not None
    assert np.abs(result.confidence - best.numpy() * 255).max() <= 0.51
    entropy = -(probabilities * probabilities.clamp(min=1e-30).log()).sum(0) / np.log(5)
    assert np.abs(result.entropy - entropy.numpy() * 255).max() <= 0.52
    assert result.tiles == 1


@pytest.mark.parametrize("name", ["tiny/plain", "tiny/corners"])
@pytest.mark.parametrize("size", [(300, 700), (517, 333), (1000, 90)])
def test_blended_tiles_equal_one_pass(plugins: list[Path], name: str, size: tuple[int, int]) -> None:
    image = picture(*size)
    whole = Engine(plugins, device="cpu").predict(ModelRef(name), image)
    # A budget that no whole image of this size fits into.
    tiled = Engine(plugins, device="cpu", memory=2_000_000).predict(ModelRef(name), image)
    assert whole.tiles == 1 and tiled.tiles > 1
    assert any("tiles" in note for note in tiled.notes)
    agreement = (whole.label_map == tiled.label_map).mean()
    # A convolution net is the same in every tile but for a few pixels at seams. Aligned corners displace
    # every cell by up to half of its size, differently in a tile than in the whole image.
    assert agreement >= (0.999 if name == "tiny/plain" else 0.93)


def test_memory_that_runs_out_leads_to_smaller_tiles_and_a_note(engine: Engine) -> None:
    image = picture(400, 500)
    result = engine.predict(ModelRef("tiny/greedy"), image)
    assert result.tiles > 1
    assert max(result.tile_size) <= 256
    assert "memory" in " ".join(result.notes)
    plain = plain_answer(engine, "tiny/plain", image).argmax(dim=0).numpy()
    assert (result.label_map == plain).mean() >= 0.999


def test_memory_that_is_never_enough_is_one_sentence(tmp_path: Path) -> None:
    code = TINY.replace("> 200 * 200", "> 0")
    engine = Engine([write_plugin(tmp_path, "tiny", code)], device="cpu", optimise=False)
    with pytest.raises(UserError, match="does not fit into the memory of cpu"):
        engine.predict(ModelRef("tiny/greedy"), picture(300, 300))


def test_folding_changes_nothing_and_keeps_the_modules(plugins: list[Path]) -> None:
    image = picture(96, 120)
    folded, plain = Engine(plugins, device="cpu"), Engine(plugins, device="cpu", optimise=False)
    report = folded.load(ModelRef("tiny/plain")).fold
    assert report is not None and (report.folded, report.kept) == (2, 0)
    assert report.difference < 1e-5
    names = [name for name, _ in plain.load(ModelRef("tiny/plain")).model.named_modules()]
    assert [name for name, _ in folded.load(ModelRef("tiny/plain")).model.named_modules()] == names
    a, b = plain_answer(folded, "tiny/plain", image), plain_answer(plain, "tiny/plain", image)
    assert float((a - b).abs().max()) <= 1e-5 * float(b.abs().max())


def test_a_network_that_cannot_run_the_small_example_still_runs(engine: Engine) -> None:
    result = engine.predict(ModelRef("tiny/large-only"), picture(64, 64))
    assert result.label_map.shape == (64, 64)
    with pytest.raises(UserError, match="too small"):
        engine.predict(ModelRef("tiny/large-only"), picture(20, 20))


def test_a_kept_run_answers_like_the_network_s_own_attention(engine: Engine) -> None:
    image = picture(61, 47)
    ref = ModelRef("tiny/attention")
    engine.predict(ref, image, keep=True, key="1")
    assert engine.has_kept(ref, "1")
    found, tile = engine.probe(ref, "attention", Query("pixel", 42.0, 30.0), key="1")
    assert tile is None
    assert found.query_cell == (10, 7)
    assert found.values.shape == (16, 12)  # 61 x 47 padded to 64 x 48, at stride 4
    model = engine.load(ref).model
    network = Network(model, engine.load(ref).spec, engine.load(ref).preprocess, torch.device("cpu"))
    with torch.no_grad():
        features = model.stage(model.stem(network.tensor(pad(image, (64, 48)))))
        row = model.attend(features)[0, 10 * 12 + 7].view(16, 12).numpy()
    assert np.abs(found.values - row).max() < 1e-6


def test_a_probe_of_a_tiled_image_is_about_the_nearest_tile_in_image_pixels(plugins: list[Path]) -> None:
    engine = Engine(plugins, device="cpu", memory=3_000_000)
    image = picture(300, 500)
    ref = ModelRef("tiny/attention")
    result = engine.predict(ref, image, keep=True, key="1")
    assert result.tiles > 1
    found, tile = engine.probe(ref, "attention", Query("pixel", 290.0, 480.0), key="1")
    assert tile is not None
    assert found.offset == (tile.y, tile.x)
    assert found.query_cell is not None
    row, column = found.query_cell
    assert found.offset[0] + 4 * row <= 290 < found.offset[0] + 4 * (row + 1)
    assert found.offset[1] + 4 * column <= 480 < found.offset[1] + 4 * (column + 1)
    assert abs(float(found.values.sum()) - 1) < 1e-4


def test_a_probe_without_a_kept_run_needs_the_image(engine: Engine) -> None:
    ref = ModelRef("tiny/attention")
    with pytest.raises(UserError, match="has not run"):
        engine.probe(ref, "attention", Query("pixel", 1, 1), key="other")
    found, _ = engine.probe(ref, "attention", Query("pixel", 1, 1), key="other", image=picture(20, 20))
    assert found.values.shape == (5, 5)
    with pytest.raises(UserError, match="outside"):
        engine.probe(ref, "attention", Query("pixel", 20, 1), key="other")
    with pytest.raises(UserError, match="no probe 'nothing'"):
        engine.probe(ref, "nothing", Query(), key="other")


def test_a_switch_counts_for_one_run_and_is_told(engine: Engine) -> None:
    image = picture(64, 64)
    plain = engine.predict(ModelRef("tiny/attention"), image)
    off = engine.predict(ModelRef("tiny/attention", switches={"attention": False}), image)
    same = engine.predict(ModelRef("tiny/attention", switches={"attention": True}), image)
    assert (plain.not_as_trained, off.not_as_trained, same.not_as_trained) == (False, True, False)
    assert (plain.label_map == same.label_map).all()
    assert (plain.label_map != off.label_map).any()
    assert (engine.predict(ModelRef("tiny/plain"), image).label_map == off.label_map).all()
    with pytest.raises(UserError, match="no switch 'nothing'"):
        engine.predict(ModelRef("tiny/plain", switches={"nothing": 1}), image)


def test_cancel_ends_a_run_between_tiles(plugins: list[Path]) -> None:
    engine = Engine(plugins, device="cpu", memory=2_000_000)
    seen: list[float] = []
    with pytest.raises(Cancelled):
        engine.predict(
            ModelRef("tiny/plain"),
            picture(500, 500),
            progress=lambda fraction, _text: seen.append(fraction),
            cancel=lambda: bool(seen),
        )
    assert len(seen) == 1


def test_the_newest_model_stays_whatever_the_budget(plugins: list[Path]) -> None:
    engine = Engine(plugins, device="cpu")
    engine._models._budget = 0
    first = engine.load(ModelRef("tiny/plain"))
    assert engine.load(ModelRef("tiny/plain")) is first
    engine.load(ModelRef("tiny/corners"))
    assert engine.load(ModelRef("tiny/plain")) is not first


def test_many_classes_need_a_wider_map_and_are_kept_apart(tmp_path: Path) -> None:
    engine = Engine([write_plugin(tmp_path, "tiny", TINY)], device="cpu")
    result = engine.predict(ModelRef("tiny/plain", num_classes=300), picture(40, 40))
    assert result.label_map.dtype == np.uint16
    assert len(result.classes) == 300


def test_models_are_found_by_their_last_part_in_any_spelling(engine: Engine) -> None:
    assert engine.registry.find("LARGE_only")[1].id == "tiny/large-only"
    with pytest.raises(UserError, match="Did you mean"):
        engine.registry.find("tiny/plane")


@pytest.mark.parametrize("side", [128, 160, 256])
@pytest.mark.parametrize("size", [(1, 1), (128, 129), (1000, 300), (257, 2049)])
def test_tiles_cover_everything_and_overlap(size: tuple[int, int], side: int) -> None:
    plan = plan_tiles(-(-size[0] // 32) * 32, -(-size[1] // 32) * 32, side, 32)
    seen = np.zeros((plan.height, plan.width), int)
    for tile in plan.tiles():
        assert tile.y % 32 == tile.x % 32 == 0
        seen[tile.y : tile.y + tile.height, tile.x : tile.x + tile.width] += 1
    assert seen.min() >= 1
    for starts, length in ((plan.rows, plan.tile_height), (plan.columns, plan.tile_width)):
        overlaps = [a + length - b for a, b in itertools.pairwise(starts)]
        assert all(overlap >= length // 4 - 32 for overlap in overlaps)


def test_a_tile_over_the_edge_shows_the_reflected_image() -> None:
    image = picture(70, 50)
    padded = pad(image, (96, 64))
    assert (padded[70:96] == padded[44:70][::-1][np.r_[1:26, 25]]).sum() > 0
    for tile in (Tile(32, 0, 64, 64), Tile(32, 32, 64, 32), Tile(0, 0, 96, 64)):
        expected = padded[tile.y : tile.y + tile.height, tile.x : tile.x + tile.width]
        assert (cut(image, tile) == expected).all()


def test_padding_reflects_and_replicates_below_two_pixels() -> None:
    image = np.arange(6, dtype=np.uint8).reshape(1, 2, 3)
    padded = pad(image, (3, 5))
    assert (padded == padded[:1]).all()
    assert padded[0, :, 0].tolist() == [0, 3, 0, 3, 0]


def test_a_plan_is_whole_until_a_tile_side_is_asked_for(engine: Engine) -> None:
    spec = engine.load(ModelRef("tiny/plain")).spec
    assert make_plan(5000, 7000, spec, None).is_whole
    assert make_plan(100, 100, spec, 128).is_whole
    assert not make_plan(100, 300, spec, 128).is_whole


def test_a_plugin_without_torch_is_checked(engine: Engine) -> None:
    result = engine.predict(ModelRef("hostile/good"), picture(9, 7))
    assert result.confidence is not None and result.confidence[0, 0] == 191
    with pytest.raises(UserError, match="no such thing"):
        engine.predict(ModelRef("hostile/raise"), picture(9, 7))
    with pytest.raises(UserError, match="label map"):
        engine.predict(ModelRef("hostile/shape"), picture(9, 7))


def test_flops_are_counted_without_computing(engine: Engine) -> None:
    from segstudio.worker.loaded_models import count_flops

    loaded = engine.load(ModelRef("tiny/plain"))
    # Two 3x3 convolutions at strides 2 and 4, three 1x1 at stride 4 of which one is run.
    expected = 2 * (32 * 32 * 8 * 27 + 16 * 16 * 8 * 72 + 16 * 16 * 5 * 8)
    assert count_flops(loaded, 64, 64) == expected


def test_the_published_network_of_vistas_names_its_classes() -> None:
    """Its file and its data set name 66 classes, the last "Unlabeled"; it has 65 outputs."""
    vistas = load_taxonomy("mapillary_v1").classes
    for facts in (WeightsFacts(), WeightsFacts(classes=vistas)):
        classes = class_table(65, facts, "mapillary_v1")
        assert [entry.name for entry in classes] == [entry.name for entry in vistas[:65]]
    assert class_table(64, WeightsFacts(), "mapillary_v1")[0].name == "Class 0"
