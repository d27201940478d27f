"""Entry point of `segstudio` and of `python -m segstudio`."""

from __future__ import annotations

import sys


def main() -> int:
    from segstudio.cli import run

    return run(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
