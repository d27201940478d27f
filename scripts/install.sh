#!/usr/bin/env bash
# Installs SegStudio, editable, with pinned dependencies into the environment of the python named.
# usage: install.sh PYTHON [TORCH-REQUIREMENT] [EXTRAS]
set -eu
python="$1"; torch="${2:-}"; extras="${3:-}"
"$python" -m pip install -q --upgrade "pip>=24" "hatchling>=1.27" editables
pins=$(mktemp); trap 'rm -f "$pins"' EXIT
cp constraints.txt "$pins"
if [ -n "$torch" ]; then
  # Another torch than the pinned one: its companion torchvision cannot be told, so neither is pinned.
  grep -viE '^(torch|torchvision)==' constraints.txt >"$pins" || true
  "$python" -m pip install -q "$torch"
fi
target="."; [ -z "$extras" ] || target=".[$extras]"
"$python" -m pip install -q -c "$pins" -e "$target"
