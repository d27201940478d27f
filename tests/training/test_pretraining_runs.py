"""Pre-training runs: what they leave, how they are interrupted, and that segmentation starts from them."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from segstudio.cli import run as segstudio
from segstudio.core import new_run
from segstudio.core.errors import UserError
from segstudio.core.recipe import Recipe
from segstudio.core.run_folder import RunFolder
from segstudio.core.weights_facts import read_facts
from segstudio.registry import Registry
from segstudio.training import program
from segstudio.worker.reconstruction import Mask, Reconstructor
from tests.training.conftest import PLUGIN_FILE, draw_sample
from tests.training.test_ranks import ends_of, free_port
from tests.training.test_resume import assert_equal, final_weights, train_elsewhere

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def pictures(tmp_path_factory) -> list[Path]:
    """Ten pictures of several sizes, one of them smaller than a crop, and no labels."""
    folder = tmp_path_factory.mktemp("pictures")
    sizes = [(48, 40), (60, 44), (40, 64), (20, 18), *[(56, 48)] * 6]
    for seed, size in enumerate(sizes):
        image, _ = draw_sample(seed, size if min(size) > 22 else (48, 40))
        cv2.imwrite(str(folder / f"{seed}.png"), cv2.resize(image, size)[:, :, ::-1])
    return sorted(folder.iterdir())


@pytest.fixture
def recipe() -> Recipe:
    return Recipe(
        model="tiny_plugin/tinyfill",
        task="pretraining",
        classes=(),
        plugin_files=(str(PLUGIN_FILE),),
        epochs=3,
        batch=2,
        crop=(32, 24),
        scale=(0.2, 1.0),
        optimizer="adamw",
        lr=0.003,
        device="cpu",
        threads=1,
        workers=2,
        previews=2,
        seed=11,
    )


@pytest.fixture
def make_run(tmp_path, pictures):
    def make(recipe: Recipe, name: str = "run", **changes) -> RunFolder:
        held_out = pictures[3::5]
        images = [path for path in pictures if path not in held_out]
        return new_run.create_for_pretraining(tmp_path / name, replace(recipe, **changes), images, held_out)

    return make


def epochs_of(run: RunFolder) -> list[dict]:
    return [event for event in run.events()[0] if event["kind"] == "epoch"]


def arguments(pictures, out, *more):
    return [
        *("train", "--plugin", str(PLUGIN_FILE), "--pretrain", "tinyfill", "--out", str(out)),
        *("--images", str(pictures[0].parent), "--device", "cpu", "--crop", "32x24", "--seed", "3"),
        *("--batch", "2", "--threads", "1", *more),
    ]


def test_one_command_pretrains_on_a_folder_of_pictures(pictures, tmp_path, capsys):
    out = tmp_path / "run"
    words = ("--epochs", "8", "--option", "width=12", "--lr", "0.01", "--previews", "2")
    assert segstudio(arguments(pictures, out, *words)) == 0
    assert "done" in capsys.readouterr().err
    run = RunFolder(out)
    recipe, samples = run.recipe(), run.samples()
    assert (recipe.task, recipe.model, recipe.classes) == ("pretraining", "tiny_plugin/tinyfill", ())
    assert (recipe.crop, recipe.options["width"]) == ((32, 24), 12)
    assert (recipe.optimizer, recipe.schedule, recipe.scale) == ("adamw", "cosine", (0.2, 1.0))
    assert {sample.label for sample in samples} == {""}
    assert [sample.split for sample in samples].count("val") == 2 and len(samples) == len(pictures)
    epochs = epochs_of(run)
    assert [entry["epoch"] for entry in epochs] == list(range(1, 9))
    assert epochs[-1]["train_loss"] < 0.8 * epochs[0]["train_loss"]
    assert epochs[-1]["val_loss"] < 0.8 * epochs[0]["val_loss"]
    last = epochs[-1]
    assert not {"miou", "iou", "pixel_accuracy"} & set(last)
    assert set(last["val_losses"]) == {"fill.cells", "fill.mean"}
    assert sum(last["val_losses"].values()) == pytest.approx(last["val_loss"])
    best = min(epochs, key=lambda entry: entry["val_loss"])
    state = run.state()
    assert (state["state"], state["best"]) == ("done", {"loss": best["val_loss"], "epoch": best["epoch"]})
    steps = [event for event in run.events()[0] if event["kind"] == "step"]
    assert all(set(step["losses"]) == {"fill.cells", "fill.mean"} for step in steps)
    words = run.log.read_text()
    assert "TinyFill" in words and "validation" in words and " 0 classes" not in words


def test_previews_are_pictures_of_the_crop_for_every_epoch(make_run, recipe):
    run = make_run(recipe)
    program.train(run)
    shown = next(event for event in run.events()[0] if event["kind"] == "previews")
    assert [entry["index"] for entry in shown["images"]] == [0, 1]
    held_out = [sample.image for sample in run.samples() if sample.split == "val"]
    assert [entry["image"] for entry in shown["images"]] == held_out
    original = cv2.imread(str(run.previews / "image-1.png"))
    assert original.shape == (24, 32, 3)
    seen = []
    for epoch in epochs_of(run):
        for preview in epoch["previews"]:
            assert preview["views"] == ["masked", "reconstruction"] and preview["error"] > 0
            for view in preview["views"]:
                path = run.previews / f"epoch-{epoch['epoch']:04d}" / f"{preview['index']}-{view}.png"
                assert cv2.imread(str(path)).shape == (24, 32, 3)
        seen.append(cv2.imread(str(run.previews / f"epoch-{epoch['epoch']:04d}" / "1-masked.png")))
    # What is seen shows the picture itself, and the same cells are hidden in every epoch.
    hidden = (seen[0] == 128).all(-1)
    assert 0.2 < hidden.mean() < 0.8
    assert np.array_equal(seen[0][~hidden], original[~hidden])
    assert all(np.array_equal(seen[0], other) for other in seen[1:])


def test_best_and_last_carry_the_facts_of_the_way_they_were_made(make_run, recipe):
    run = make_run(recipe, options={"width": 6}, title="Squares")
    program.train(run)
    for name in ("best", "last"):
        facts = read_facts(run.checkpoints / f"{name}.safetensors")
        assert (facts.model, facts.num_classes, facts.classes) == ("tiny_plugin/tinyfill", None, ())
        assert facts.preprocess.mean == (128.0, 128.0, 128.0) and facts.title.startswith("Squares")
        assert facts.options["width"] == 6 and tuple(facts.options["image_size"]) == (24, 32)
    kept = {event["name"] for event in run.events()[0] if event["kind"] == "checkpoint"}
    assert kept == {"best", "last"}


@pytest.mark.parametrize("kill_at", [2, 5, 11])
def test_kill_9_and_resume_is_bitwise_the_whole_run(make_run, recipe, kill_at):
    recipe = replace(recipe, checkpoint_seconds=0.0)
    whole = make_run(recipe, "whole")
    program.train(whole)
    broken = make_run(recipe, "broken")
    assert train_elsewhere(broken, SEGSTUDIO_TEST_KILL=str(kill_at)) == -signal.SIGKILL
    assert broken.state()["state"] == "running"
    assert program.train(broken) == "done"
    assert_equal(final_weights(whole), final_weights(broken))
    losses = [
        {entry["epoch"]: (entry["train_loss"], entry["val_losses"]) for entry in epochs_of(run)}
        for run in (whole, broken)
    ]
    assert losses[0] == losses[1]


def test_masks_and_crops_change_with_the_seed_and_the_schedule_is_told(make_run, recipe):
    runs = [make_run(recipe, name, seed=seed, epochs=1) for name, seed in (("a", 1), ("b", 1), ("c", 2))]
    for run in runs:
        program.train(run)
    assert_equal(final_weights(runs[0]), final_weights(runs[1]))
    different = final_weights(runs[2])
    assert any(not torch.equal(value, different[key]) for key, value in final_weights(runs[0]).items())


def test_pause_and_stop_are_obeyed_and_resuming_goes_on_exactly(make_run, recipe, monkeypatch):
    whole = make_run(recipe, "whole")
    program.train(whole)
    paused = make_run(recipe, "paused")
    seen = []

    def wish(self):
        seen.append(1)
        return ("pause", "now") if len(seen) >= 6 else None

    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, "wish", wish)
        assert program.train(paused) == "paused"
    assert paused.state()["state"] == "paused"
    assert program.train(paused) == "done"
    assert_equal(final_weights(whole), final_weights(paused))
    stopped = make_run(recipe, "stopped")
    monkeypatch.setattr(RunFolder, "wish", lambda self: ("stop", "epoch"))
    assert program.train(stopped) == "done"
    assert stopped.state()["epoch"] == 1 and (stopped.checkpoints / "last.safetensors").exists()


def test_accumulation_equals_the_larger_batch_where_masks_are_fixed(make_run, recipe):
    recipe = replace(recipe, options={"masking": "grid", "noise": 0.0}, epochs=2, optimizer="sgd")
    large = make_run(recipe, "large", batch=4)
    small = make_run(recipe, "small", batch=2, accumulate=2)
    for run in (large, small):
        program.train(run)
    for key, value in final_weights(large).items():
        torch.testing.assert_close(final_weights(small)[key], value, atol=1e-6, rtol=1e-5)


def test_half_precision_learns_and_keeps_full_precision_weights(make_run, recipe):
    run = make_run(recipe, precision="bf16", epochs=5, lr=0.01)
    program.train(run)
    epochs = epochs_of(run)
    assert epochs[-1]["train_loss"] < epochs[0]["train_loss"]
    assert {value.dtype for value in final_weights(run).values()} == {torch.float32}


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="gloo over the loopback interface")
def test_two_ranks_equal_one_process_where_masks_are_fixed(make_run, recipe):
    recipe = replace(recipe, options={"masking": "grid", "noise": 0.0}, epochs=2, optimizer="sgd")
    alone = make_run(recipe, "alone", batch=4)
    program.train(alone)
    shared = make_run(recipe, "shared", batch=2)
    settings = {
        "WORLD_SIZE": "2",
        "LOCAL_WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(free_port()),
        "TORCHELASTIC_RUN_ID": "test",
        "GROUP_RANK": "0",
        "GLOO_SOCKET_IFNAME": "lo",
    }
    ranks = [
        subprocess.Popen(
            [sys.executable, "-m", "segstudio", "train", str(shared.path)],
            env={**os.environ, **settings, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            cwd=Path(__file__).resolve().parents[2],
            stderr=subprocess.PIPE,
        )
        for rank in range(2)
    ]
    errors = ends_of(ranks)
    assert [rank.returncode for rank in ranks] == [0, 0], "\n".join(errors)
    ours, theirs = final_weights(alone), final_weights(shared)
    for key in ours:
        torch.testing.assert_close(theirs[key], ours[key], atol=1e-6, rtol=1e-5)
    ends = [epochs_of(run)[-1] for run in (alone, shared)]
    assert ends[0]["val_loss"] == pytest.approx(ends[1]["val_loss"], rel=1e-5)
    assert [preview["index"] for preview in ends[1]["previews"]] == [0, 1]


def test_a_file_of_weights_given_as_an_option_reaches_the_network(make_run, recipe):
    first = make_run(recipe, "first", epochs=1)
    program.train(first)
    weights = first.checkpoints / "last.safetensors"
    second = make_run(recipe, "second", epochs=1, lr=1e-12, options={"start": str(weights)})
    program.train(second)
    for key, value in final_weights(first).items():
        torch.testing.assert_close(final_weights(second)[key], value, atol=1e-6, rtol=0)
    missing = make_run(recipe, "missing", options={"start": str(weights.with_name("gone.safetensors"))})
    with pytest.raises(UserError, match="gone"):
        program.train(missing)


def test_without_validation_pictures_a_run_keeps_its_last_weights(tmp_path, pictures, recipe):
    run = new_run.create_for_pretraining(tmp_path / "run", replace(recipe, epochs=1), pictures)
    assert program.train(run) == "done"
    assert not run.state().get("best") and not (run.checkpoints / "best.safetensors").exists()
    assert "val_loss" not in epochs_of(run)[-1] and (run.checkpoints / "last.safetensors").exists()


def test_what_cannot_be_is_said_in_one_sentence(make_run, recipe, tmp_path, pictures, capsys):
    with pytest.raises(UserError, match="divisible by 4"):
        program.train(make_run(recipe, "odd", crop=(30, 24)))
    with pytest.raises(UserError, match="no longer a number"):
        program.train(make_run(recipe, "diverging", lr=1e30, optimizer="sgd"))
    with pytest.raises(UserError, match="way of pre-training named 'nothing'"):
        program.train(make_run(recipe, "unknown", model="nothing"))
    with pytest.raises(UserError, match="cannot be trained: BEiT predicts visual tokens"):
        program.train(
            make_run(recipe, "no-tokenizer", model="beit-pretraining-tiny", crop=(32, 32), options={})
        )
    with pytest.raises(UserError, match="no images to train on"):
        new_run.create_for_pretraining(tmp_path / "held-out", recipe, [], pictures)
    empty = tmp_path / "empty"
    empty.mkdir()
    words = ["train", "--plugin", str(PLUGIN_FILE), "--pretrain", "tinyfill", "--images", str(empty)]
    assert segstudio([*words, "--out", str(tmp_path / "none")]) == 2
    assert segstudio(words) == 2
    assert segstudio(arguments(pictures, tmp_path / "deep", "--option", "depth=3")) == 2
    assert segstudio(arguments(pictures, tmp_path / "labels", "--labels", str(empty))) == 2
    beit = ["train", "--pretrain", "beit-pretraining-tiny", "--images", str(pictures[0].parent)]
    assert segstudio([*beit, "--out", str(tmp_path / "beit")]) == 2 and not (tmp_path / "beit").exists()
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "0.png").write_bytes(b"\x89PNG\r\n\x1a\n no more")
    assert segstudio([*words[:-1], str(broken), "--out", str(tmp_path / "unreadable")]) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("segstudio: ")]
    assert len(lines) == 6 and "0.png" in lines[-1]
    assert "needs a tokenizer" in lines[-2] and "set target to something other than tokens" in lines[-2]


def test_what_pretraining_leaves_is_no_network_for_masks(make_run, recipe, tmp_path, capsys):
    run = make_run(recipe, epochs=1)
    program.train(run)
    weights = str(run.checkpoints / "best.safetensors")
    picture = run.samples()[0].image
    words = [
        "predict",
        "--plugin",
        str(PLUGIN_FILE),
        "--weights",
        weights,
        "--out",
        str(tmp_path / "masks"),
        picture,
    ]
    assert segstudio([*words, "--model", "tinynet"]) == 2
    assert segstudio([*words, "--model", "tinyfill"]) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("segstudio: ")]
    assert len(lines) == 2
    assert "pre-training weights" in lines[0] and "not a network for masks" in lines[0]
    assert "tinyfill is a way of pre-training" in lines[1] and "train --pretrain tinyfill" in lines[1]
    assert segstudio(["weights", "--plugin", str(PLUGIN_FILE), "identify", weights]) == 0
    assert "pre-training weights of tiny_plugin/tinyfill" in capsys.readouterr().out


def test_the_ways_of_pretraining_are_listed(capsys):
    assert segstudio(["models", "--plugin", str(PLUGIN_FILE), "--pretraining"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("tiny_plugin/tinyfill") and "TinyFill" in line for line in lines)
    assert not any("tinynet" in line for line in lines)
    assert segstudio(["models", "--plugin", str(PLUGIN_FILE), "--pretraining", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert "tiny_plugin/tinyfill" in [entry["id"] for entry in document["pretraining"]]


def test_a_segmentation_run_starts_from_a_pretrained_encoder(tmp_path, pictures, shapes):
    """The whole chain with a real network: pre-train MAE, then train a segmentor from what it left."""
    out = tmp_path / "mae"
    words = ["--epochs", "1", "--batch", "2", "--crop", "32x32", "--threads", "1", "--device", "cpu"]
    pretrain = ["train", "--pretrain", "mae-pretraining-tiny", "--images", str(pictures[0].parent)]
    assert segstudio([*pretrain, "--out", str(out), *words]) == 0
    encoder = out / "checkpoints" / "last.safetensors"
    assert read_facts(encoder).model == "segstudio_zoo/mae-pretraining-tiny"
    run = tmp_path / "segmentor"
    train = [
        "train",
        "--model",
        "upernet_mae-tiny",
        "--weights",
        str(encoder),
        "--lr",
        "1e-12",
        "--out",
        str(run),
    ]
    folders = ["--images", str(shapes / "images"), "--labels", str(shapes / "labels")]
    assert segstudio([*train, *folders, "--optimizer", "adamw", *words]) == 0
    note = next(line for line in RunFolder(run).log.read_text().splitlines() if "started from" in line)
    assert "last.safetensors" in note
    before, after = load_file(encoder), load_file(run / "checkpoints" / "last.safetensors")
    projection = "patch_embed.projection.weight"
    [left] = [value for key, value in before.items() if key.endswith(("patch_embed.proj.weight", projection))]
    [right] = [value for key, value in after.items() if key.endswith(projection)]
    torch.testing.assert_close(right, left, atol=1e-5, rtol=0)


def test_beit_learns_the_tokens_of_a_discrete_vae_and_keeps_it(tmp_path, pictures):
    """The chain of the paper's own two stages, and a look at the second without the first one's file."""
    folder = ["--images", str(pictures[0].parent), "--threads", "1", "--device", "cpu", "--previews", "1"]
    words = [*folder, "--epochs", "1", "--batch", "2", "--steps-per-epoch", "2", "--crop", "32x32"]
    tokens, beit = tmp_path / "dvae", tmp_path / "beit"
    assert segstudio(["train", "--pretrain", "dvae-tiny", "--out", str(tokens), *words]) == 0
    tokenizer = tokens / "checkpoints" / "best.safetensors"
    given = ["--option", f"tokenizer={tokenizer}"]
    assert (
        segstudio(["train", "--pretrain", "beit-pretraining-tiny", "--out", str(beit), *given, *words]) == 0
    )
    run = RunFolder(beit)
    assert run.recipe().options["tokenizer"] == str(tokenizer)
    [preview] = epochs_of(run)[-1]["previews"]
    assert {"masked", "tokenizer"} <= set(preview["views"])
    kept, own = load_file(tokenizer), load_file(run.checkpoints / "last.safetensors")
    inside = {key: value for key, value in own.items() if key.startswith("tokenizer.")}
    assert inside and all(torch.equal(value, kept[key[10:]]) for key, value in inside.items())
    tokenizer.unlink()
    model = {
        "pretraining": "segstudio_zoo/beit-pretraining-tiny",
        "weights": str(run.checkpoints / "last.safetensors"),
    }
    image = cv2.imread(str(pictures[4]))[:, :, ::-1]
    made = Reconstructor(Registry()).reconstruct(model, image, Mask(seed=3), device="cpu")
    assert made.views[0] == "original" and made.pictures.shape[1:] == (32, 32, 3)
