import json
import os
import subprocess
import sys
import time

import pytest

from segstudio.core import recipe as recipes
from segstudio.core import run_lease
from segstudio.core.errors import UserError
from segstudio.core.run_folder import RunFolder, find_runs, next_run_name
from segstudio.core.run_lease import Lease


def test_a_recipe_survives_toml(recipe, tmp_path):
    path = tmp_path / "run.toml"
    recipes.write_recipe(path, recipe)
    assert recipes.read_recipe(path) == recipe


def test_a_wrong_recipe_is_named(recipe, tmp_path):
    path = tmp_path / "run.toml"
    path.write_text('model = "m"\nspeed = 3\n')
    with pytest.raises(UserError, match="unknown field 'speed'"):
        recipes.read_recipe(path)
    with pytest.raises(UserError, match="expected at least 2"):
        recipes.from_document({"model": "m", "classes": []}).checked()


def test_a_run_holds_its_own_labels_in_its_own_numbers(make_run, recipe, shapes):
    run = make_run(recipe)
    samples = run.samples()
    assert {sample.split for sample in samples} == {"train", "val"}
    assert len(list(run.labels.iterdir())) == len(samples) == 8
    assert run.state()["state"] == "queued"
    assert find_runs(run.path.parent)[0].path == run.path
    with pytest.raises(UserError, match="already a run"):
        make_run(recipe)


def test_a_torn_last_event_is_left_for_the_next_read(tmp_path):
    run = RunFolder(tmp_path)
    run.append_event("step", step=1)
    with run.events_path.open("ab") as file:
        file.write(b'{"kind": "st')
    events, position = run.events()
    assert [event["step"] for event in events] == [1]
    run.mend_events()
    run.append_event("step", step=2)
    more, _ = run.events(position)
    assert [event["step"] for event in more] == [2]


def test_a_stop_outweighs_a_pause(tmp_path):
    run = RunFolder(tmp_path)
    assert run.wish() is None
    run.ask("pause", "epoch")
    assert run.wish() == ("pause", "epoch")
    run.ask("stop", "now")
    assert run.wish() == ("stop", "now")
    run.forget_wishes()
    assert run.wish() is None


def test_run_names_count_on(tmp_path):
    assert next_run_name(tmp_path) == "run-0001"
    (tmp_path / "run-0007").mkdir()
    (tmp_path / "notes").mkdir()
    assert next_run_name(tmp_path) == "run-0008"


def test_only_one_process_holds_a_run(tmp_path):
    lease = Lease.take(tmp_path, heartbeat=False)
    with pytest.raises(UserError, match=f"process {os.getpid()}"):
        Lease.take(tmp_path)
    lease.release()
    Lease.take(tmp_path, heartbeat=False).release()
    assert not (tmp_path / "lease.json").exists()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="other systems rely on silence")
def test_a_dead_process_on_this_computer_loses_its_run_at_once(tmp_path):
    code = (
        "import os, pathlib, sys; from segstudio.core.run_lease import Lease;"
        "Lease.take(pathlib.Path(sys.argv[1])); os._exit(0)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)
    assert run_lease.read_lease(tmp_path)["pid"] != os.getpid()
    lease = Lease.take(tmp_path, heartbeat=False)
    assert run_lease.read_lease(tmp_path)["pid"] == os.getpid()
    lease.release()


def test_a_silent_lease_of_another_computer_is_taken_over_after_a_minute(tmp_path):
    held = {"host": "elsewhere", "boot_id": "b", "pid": 1, "process_start": "1", "nonce": "n"}
    path = tmp_path / "lease.json"
    path.write_text(json.dumps({**held, "beat": time.time() - 30}))
    with pytest.raises(UserError, match="elsewhere"):
        Lease.take(tmp_path)
    path.write_text(json.dumps({**held, "beat": time.time() - 61}))
    Lease.take(tmp_path, heartbeat=False).release()


def test_a_process_notices_that_its_run_was_taken_over(tmp_path):
    lease = Lease.take(tmp_path, heartbeat=False)
    assert lease.beat_once()
    document = json.loads((tmp_path / "lease.json").read_text())
    (tmp_path / "lease.json").write_text(json.dumps({**document, "nonce": "another"}))
    assert not lease.beat_once()
    assert lease.lost
    lease.release()
    assert (tmp_path / "lease.json").exists()
