#!/usr/bin/env bash
# Starts the bundle as a person would, on a virtual screen, from a folder with a space and an accent in
# its name and with a home of its own: the window opens the demo, runs a model, shows its mask, and ends.
set -eu
bundle="${1:-dist/segstudio}"
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
cp -al "$(realpath "$bundle")" "$work/a bundlé" 2>/dev/null || cp -a "$bundle" "$work/a bundlé"
program="$work/a bundlé/segstudio"
export SEGSTUDIO_HOME="$work/home"
unset PYTHONPATH VIRTUAL_ENV
cd "$work"
"$program" --version
"$program" models --json >models.json
test "$(grep -c '"id"' models.json)" -gt 20
"$program" doctor
xvfb-run -a -s "-screen 0 1600x1000x24" "$program" gui --smoke demo
echo "bundle-smoke: the bundle opened the demo, ran a model and ended"
