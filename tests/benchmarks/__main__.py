"""`make bench`: runs every module of this folder that has a `measure()` and prints one JSON document.

`make bench ARGS="canvas startup"` runs the named ones only. Progress goes to stderr. A module whose
needs are not met on this computer raises `NotMeasured`, and the document says why.
"""

from __future__ import annotations

import importlib
import json
import os
import pkgutil
import platform
import sys
import time
from pathlib import Path

from tests.benchmarks.timing import NotMeasured


def main(names: list[str]) -> int:
    folder = Path(__file__).parent
    found = [
        module.name for module in pkgutil.iter_modules([str(folder)]) if module.name.startswith("bench_")
    ]
    wanted = [f"bench_{name.removeprefix('bench_')}" for name in names] or found
    unknown = sorted(set(wanted) - set(found))
    if unknown:
        print(f"No benchmark {unknown[0]}; there are {', '.join(found)}.", file=sys.stderr)
        return 2
    results: dict[str, object] = {}
    for name in wanted:
        print(f"{name} …", file=sys.stderr, flush=True)
        begun = time.perf_counter()
        try:
            results[name] = importlib.import_module(f"tests.benchmarks.{name}").measure()
        except NotMeasured as reason:
            results[name] = {"not measured": str(reason)}
        print(f"{name}: {time.perf_counter() - begun:.0f} s", file=sys.stderr, flush=True)
    machine = {
        "processor": platform.machine(),
        "cores": os.cpu_count(),
        "system": platform.platform(terse=True),
        "python": platform.python_version(),
    }
    print(json.dumps({"machine": machine, "results": results}, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
