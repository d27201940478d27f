from pathlib import Path

import pytest

from segstudio.cli import run
from segstudio.commands.train import parse_options
from segstudio.core.errors import UserError
from segstudio.core.run_folder import RunFolder
from segstudio.plugin_api import ModelSpec, Option

PLUGIN = str(Path(__file__).with_name("tiny_plugin.py"))


def arguments(shapes, out, *more):
    return [
        *("train", "--plugin", PLUGIN, "--model", "tinynet", "--out", str(out), "--device", "cpu"),
        *("--images", str(shapes / "images"), "--labels", str(shapes / "labels")),
        *("--epochs", "1", "--batch", "2", "--crop", "32x24", "--threads", "1", *more),
    ]


def test_one_command_makes_and_trains_a_run(shapes, tmp_path, capsys):
    out = tmp_path / "run"
    assert run(arguments(shapes, out, "--option", "width=4", "--val-share", "0.25")) == 0
    folder = RunFolder(out)
    recipe = folder.recipe()
    assert recipe.options == {"width": 4} and recipe.crop == (32, 24)
    assert [entry.name for entry in recipe.classes] == ["Class 0", "Class 1", "Class 2"]
    assert folder.state()["state"] == "done"
    assert (folder.checkpoints / "best.safetensors").exists()
    assert "done" in capsys.readouterr().err


def test_a_label_that_is_no_class_is_named_with_its_pixels(shapes, tmp_path, capsys):
    classes = tmp_path / "two.json"
    classes.write_text('{"classes": [{"name": "a", "color": [0,0,0]}, {"name": "b", "color": [9,9,9]}]}')
    assert run(arguments(shapes, tmp_path / "run", "--taxonomy", str(classes))) == 2
    error = capsys.readouterr().err
    assert "Label value 2" in error and "168 pixels" in error and "(0 to 1)" in error
    assert run(arguments(shapes, tmp_path / "other", "--taxonomy", str(classes), "--ignore", "2")) == 0


def test_missing_parts_give_one_sentence(shapes, tmp_path, capsys):
    assert run(["train"]) == 2
    assert run(["train", str(tmp_path)]) == 2
    assert run(["train", "--plugin", PLUGIN, "--model", "tinynet"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3 and all(line.startswith("segstudio: ") for line in lines)


def test_options_take_the_types_the_model_declares():
    spec = ModelSpec(
        id="p/m",
        title="M",
        family="f",
        options=(
            Option("width", "float", 1.0),
            Option("sizes", "ints", (1,)),
            Option("aux", "bool", True),
            Option("kind", "choice", "a", choices=("a", "b")),
        ),
    )
    words = ["width=0.5", "sizes=3,4", "aux=false", "kind=b"]
    assert parse_options(spec, words) == {"width": 0.5, "sizes": (3, 4), "aux": False, "kind": "b"}
    with pytest.raises(UserError, match="no option 'depth'"):
        parse_options(spec, ["depth=3"])
    with pytest.raises(UserError, match="expected a, b"):
        parse_options(spec, ["kind=c"])
