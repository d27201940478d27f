#!/usr/bin/env bash
# Builds the wheel, installs it in an environment of its own outside the checkout, and runs it there.
# usage: wheel_smoke.sh PYTHON   (a python whose environment already holds the dependencies)
set -eu
python=$(realpath -s "$1")
root=$(pwd)
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
"$python" -m pip wheel -q --no-deps --no-build-isolation -w "$work" "$root"
"$python" -m venv "$work/venv"
# The dependencies are borrowed from the given environment; SegStudio itself comes from the wheel alone.
site=$("$work/venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
"$python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))' >"$site/dependencies.pth"
"$work/venv/bin/python" -m pip install -q --no-deps --ignore-installed --no-index "$work"/segstudio-*.whl
cd "$work"
export SEGSTUDIO_HOME="$work/home" QT_QPA_PLATFORM=offscreen
"$work/venv/bin/python" - <<'PY'
import pathlib, sys
import segstudio, segstudio_zoo
for module in (segstudio, segstudio_zoo):
    where = pathlib.Path(module.__file__)
    assert where.is_relative_to(pathlib.Path(sys.prefix)), f"{module.__name__} comes from {where}, not from the wheel"
PY
"$work/venv/bin/segstudio" doctor
demo=$("$work/venv/bin/python" -c 'from segstudio.core.resources import resource; print(resource("demo"))')
image=$(find "$demo/images" -type f | sort | head -1)
weights=$(find "$demo/checkpoints" -name '*.safetensors' | sort | head -1)
model=$("$work/venv/bin/python" -c 'import json,sys; print(json.load(open(sys.argv[1]))["model"])' "${weights%.safetensors}.json")
"$work/venv/bin/segstudio" predict --model "$model" --weights "$weights" --out "$work/out" "$image"
test -s "$work/out/$(basename "${image%.*}").png"
"$work/venv/bin/segstudio" gui --smoke demo
echo "wheel-smoke: the wheel runs outside the checkout"
