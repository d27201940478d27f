"""Opens the window."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", nargs="?", type=Path, help="a folder of images to open")
    parser.add_argument("--demo", action="store_true", help="open the demo project")
    parser.add_argument(
        "--smoke",
        choices=("paint", "demo"),
        help="leave by itself: after the first paint, or after the demo showed a mask",
    )


def run(arguments: argparse.Namespace) -> int:
    from segstudio.ui.application import run as run_window

    return run_window(
        folder=arguments.folder,
        plugin_files=tuple(arguments.plugin),
        demo=arguments.demo,
        smoke=arguments.smoke or "",
    )
