"""The command line: which verb lies in which file, and what every verb has in common.

Results go to standard output (with `--json` exactly one document), progress and problems to standard
error. Exit code 0: all done; 1: some inputs refused, the rest done; 2: nothing done, one sentence why.
"""

from __future__ import annotations

import argparse
import importlib
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

import segstudio
from segstudio.core.errors import UserError

VERBS: dict[str, str] = {
    "gui": "open the window (the default)",
    "models": "list the networks",
    "predict": "segment images",
    "evaluate": "compare predictions with labels",
    "attend": "what a network looked at from one pixel",
    "train": "train a network in a run folder",
    "export": "write a trained network for other programs",
    "weights": "look into files of weights",
    "project": "make, fill, copy out and check projects",
    "plugin": "start and check plugins",
    "doctor": "what this computer can do",
    "worker": "the program behind the window (not for people)",
}
_GUI_FLAGS = {"--demo", "--smoke"}


def run(arguments: Sequence[str]) -> int:
    """Runs one command line and gives its exit code."""
    words = list(arguments)
    if words and words[0] in ("-V", "--version"):
        print(f"segstudio {segstudio.__version__}")
        return 0
    if words and words[0] in ("-h", "--help"):
        _print_help()
        return 0
    plugins, words = _leading_plugins(words)
    verb, rest = (words[0], words[1:]) if words and words[0] in VERBS else ("gui", words)
    if verb == "gui" and rest == words and words and not _opens_window(words[0]):
        print(f"segstudio: there is no command {words[0]!r}; `segstudio --help` lists them", file=sys.stderr)
        return 2
    module = importlib.import_module(f"segstudio.commands.{verb}")
    description = (module.__doc__ or "").strip()
    parser = argparse.ArgumentParser(
        prog=f"segstudio {verb}", description=description, conflict_handler="resolve"
    )
    module.add_arguments(parser)
    parser.add_argument(
        "--plugin", action="append", default=[], type=Path, metavar="FILE", help="a plugin file"
    )
    parsed = parser.parse_args([*plugins, *rest])
    try:
        code = module.run(parsed)
        sys.stdout.flush()
        return int(code)
    except UserError as error:
        print(f"segstudio: {error}", file=sys.stderr)
        if error.details and os.environ.get("SEGSTUDIO_DETAILS"):
            print(error.details, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("segstudio: stopped", file=sys.stderr)
        return 128 + signal.SIGINT
    except BrokenPipeError:
        # The reader of our output went away (`| head`); the interpreter must not try to flush to it again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 128 + 13
    except MemoryError:
        traceback.print_exc()
        print("segstudio: there is not enough memory for this", file=sys.stderr)
        return 2


def _leading_plugins(words: list[str]) -> tuple[list[str], list[str]]:
    """Splits `--plugin FILE` before the verb, which every verb takes, from what follows."""
    end = 0
    while end < len(words) and words[end].split("=")[0] == "--plugin":
        end += 1 if "=" in words[end] else 2
    return words[:end], words[end:]


def _opens_window(word: str) -> bool:
    """`segstudio FOLDER` and `segstudio --demo` open the window."""
    return word.split("=")[0] in _GUI_FLAGS or os.path.exists(word)  # noqa: PTH110 - any string may come


def _print_help() -> None:
    print("usage: segstudio [COMMAND] [ARGUMENTS]\n\nSemantic segmentation: annotate, compare, train.\n")
    for verb, purpose in VERBS.items():
        if verb != "worker":
            print(f"  {verb:<10} {purpose}")
    print("\n`segstudio COMMAND --help` says more about each.")
