"""A run that was interrupted, in whatever way, ends with exactly the weights of one that was not."""

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from segstudio.core.errors import UserError
from segstudio.core.run_folder import RunFolder
from segstudio.core.weights_facts import read_facts
from segstudio.training import program, validation

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def final_weights(run: RunFolder):
    return load_file(run.checkpoints / "last.safetensors")


def assert_equal(left, right):
    assert left.keys() == right.keys()
    for key in left:
        assert torch.equal(left[key], right[key]), key


def train_elsewhere(run: RunFolder, **environment: str) -> int:
    """Trains in a process of its own and gives its exit code."""
    command = [sys.executable, "-m", "segstudio", "train", str(run.path)]
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(command, env={**os.environ, **environment}, cwd=root, capture_output=True)
    return done.returncode


def test_a_run_ends_with_checkpoints_events_and_previews(make_run, recipe):
    run = make_run(recipe, epochs=6)
    assert program.train(run) == "done"
    state = run.state()
    assert state["state"] == "done" and state["epoch"] == 6 and state["best"]["miou"] > 0.2
    events, _ = run.events()
    epochs = [event for event in events if event["kind"] == "epoch"]
    assert [event["epoch"] for event in epochs] == [1, 2, 3, 4, 5, 6]
    assert epochs[-1]["train_loss"] < epochs[0]["train_loss"]
    assert len(epochs[-1]["iou"]) == 3
    assert (run.previews / "epoch-0006" / "1.png").exists() and (run.previews / "truth-1.png").exists()
    facts = read_facts(run.checkpoints / "best.safetensors")
    assert (facts.model, facts.num_classes) == ("tiny_plugin/tinynet", 3)
    assert facts.preprocess.mean == (128.0, 128.0, 128.0)
    assert [entry.name for entry in facts.classes] == ["Ground", "Disc", "Box"]
    assert "epoch 6: train" in run.log.read_text()
    assert not (run.path / "lease.json").exists()
    assert list((run.path / "tensorboard").iterdir())
    with pytest.raises(UserError, match="finished"):
        program.train(run)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize("kill_at", [2, 4, 8])
def test_kill_9_and_resume_is_bitwise_the_whole_run(make_run, recipe, optimizer, kill_at):
    recipe = replace(recipe, optimizer=optimizer, lr=0.01, checkpoint_seconds=0.0)
    whole = make_run(recipe, "whole")
    program.train(whole)
    broken = make_run(recipe, "broken")
    assert train_elsewhere(broken, SEGSTUDIO_TEST_KILL=str(kill_at)) == -signal.SIGKILL
    assert broken.state()["state"] == "running"
    assert program.train(broken) == "done"
    assert_equal(final_weights(whole), final_weights(broken))
    losses = [
        {event["epoch"]: event["train_loss"] for event in run.events()[0] if event["kind"] == "epoch"}
        for run in (whole, broken)
    ]
    assert losses[0] == losses[1]


def test_pause_saves_and_resuming_goes_on_exactly(make_run, recipe, monkeypatch):
    whole = make_run(recipe, "whole")
    program.train(whole)
    paused = make_run(recipe, "paused")
    seen = []

    def wish(self):
        seen.append(1)
        return ("pause", "now") if len(seen) >= 5 else None

    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, "wish", wish)
        assert program.train(paused) == "paused"
    state = paused.state()
    assert state["state"] == "paused" and "paused" in state["reason"]
    assert program.train(paused) == "done"
    assert_equal(final_weights(whole), final_weights(paused))


def test_stop_after_epoch_ends_at_the_epoch(make_run, recipe, monkeypatch):
    run = make_run(recipe)
    monkeypatch.setattr(RunFolder, "wish", lambda self: ("stop", "epoch"))
    assert program.train(run) == "done"
    assert run.state()["epoch"] == 1
    assert (run.checkpoints / "last.safetensors").exists()


def test_large_validation_images_go_through_in_tiles(make_run, recipe, monkeypatch):
    whole = make_run(recipe, "whole")
    program.train(whole)
    monkeypatch.setattr(validation, "WHOLE_PIXELS", 100)
    monkeypatch.setattr(validation, "TILE_SIDE", 32)
    tiled = make_run(recipe, "tiled")
    program.train(tiled)
    ends = [[event for event in run.events()[0] if event["kind"] == "epoch"][-1] for run in (whole, tiled)]
    assert ends[1]["val_loss"] is None
    assert ends[1]["miou"] == pytest.approx(ends[0]["miou"], abs=0.05)
    assert_equal(final_weights(whole), final_weights(tiled))


def test_accumulation_equals_the_larger_batch(make_run, recipe):
    recipe = replace(recipe, options={"norm": False, "dropout": 0.0}, epochs=2)
    large = make_run(recipe, "large", batch=4)
    small = make_run(recipe, "small", batch=2, accumulate=2)
    for run in (large, small):
        program.train(run)
    for key, value in final_weights(large).items():
        torch.testing.assert_close(final_weights(small)[key], value, atol=1e-6, rtol=1e-5)


def test_half_precision_learns_and_keeps_full_precision_weights(make_run, recipe):
    run = make_run(recipe, precision="bf16", epochs=4)
    program.train(run)
    epochs = [event for event in run.events()[0] if event["kind"] == "epoch"]
    assert epochs[-1]["train_loss"] < epochs[0]["train_loss"]
    assert {value.dtype for value in final_weights(run).values()} <= {torch.float32, torch.int64}


def test_a_processor_refuses_float16_with_a_sentence(make_run, recipe):
    with pytest.raises(UserError, match="float16"):
        program.train(make_run(recipe, precision="16"))


def test_a_broken_state_is_refused_with_a_sentence(make_run, recipe):
    run = make_run(recipe)
    (run.checkpoints / "resume.pt").write_bytes(b"not a zip")
    with pytest.raises(UserError, match="cannot be read"):
        program.train(run)
    assert run.state()["state"] == "failed"


def test_failures_leave_their_reason(make_run, recipe, shapes):
    run = make_run(recipe, model="tiny_plugin/fixed")
    with pytest.raises(UserError, match="cannot be trained"):
        program.train(run)
    assert run.state()["state"] == "failed" and "cannot be trained" in run.state()["reason"]
    diverging = make_run(recipe, "diverging", lr=1e30)
    with pytest.raises(UserError, match="no longer a number"):
        program.train(diverging)


def test_a_run_starts_from_given_weights_only_where_a_plugin_can_load(make_run, recipe):
    run = make_run(recipe, weights="/nowhere.safetensors")
    with pytest.raises(UserError, match="cannot load weights"):
        program.train(run)


def test_a_queue_goes_on_after_a_failure(make_run, recipe):
    bad = make_run(recipe, "queue/run-0001", model="tiny_plugin/fixed")
    good = make_run(recipe, "queue/run-0002", epochs=1)
    assert program.work_off(good.path.parent) == (1, 1)
    assert (bad.state()["state"], good.state()["state"]) == ("failed", "done")
