#!/usr/bin/env bash
# Installs SegStudio, editable, with pinned dependencies into the environment of the python named.
# usage: install.sh PYTHON [TORCH-REQUIREMENT] [EXTRA ...]
#
# torch goes first: the wheels of torchvision cannot be imported beside a torch built for the processor
# alone, so there torchvision is left out and its plugin lists its models with that reason.
set -eu
python="$1"; torch="${2:-}"; shift; [ $# -eq 0 ] || shift
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
"$python" -m pip install -q --upgrade "pip>=24" "hatchling>=1.27" editables
if [ -n "$torch" ]; then
  grep -viE '^(torch|torchvision)==' constraints.txt >"$work/pins"
else
  cp constraints.txt "$work/pins"
  torch=torch
fi
"$python" -m pip install -q -c "$work/pins" "$torch"
"$python" - "$work/requirements" "$@" <<'PY'
import sys, tomllib
from importlib.metadata import version

with open("pyproject.toml", "rb") as file:
    project = tomllib.load(file)["project"]
wanted = list(project["dependencies"])
for extra in sys.argv[2:]:
    wanted += project["optional-dependencies"][extra]
import torch

accelerated = torch.version.cuda or torch.version.hip or sys.platform == "darwin"
if not accelerated:
    wanted = [line for line in wanted if not line.startswith("torchvision")]
    print(f"torch {version('torch')} is built for the processor alone: leaving out torchvision, which needs "
          "a torch with CUDA. Its own networks will be listed as unavailable; everything else works.")
# As it was installed: torch tells its CUDA in its own version, which the wheel's does not name.
wanted.append(f"torch=={version('torch')}")
with open(sys.argv[1], "w") as file:
    file.write("\n".join(wanted) + "\n")
PY
"$python" -m pip install -q -c "$work/pins" -r "$work/requirements"
"$python" -m pip install -q --no-deps --no-build-isolation -e .
