#!/usr/bin/env bash
# Makes sure that Qt's system libraries (and, with `screen`, those of a screen) are there.
# Installs them where it may (root, or sudo without a password), else prints the one line that does.
set -eu
offscreen="libglib2.0-0 libegl1 libgl1 libxkbcommon0 libfontconfig1 libdbus-1-3"
screen="libxcb-cursor0 libxcb-icccm4 libxcb-image0 libxcb-keysyms1 libxcb-render-util0 libxcb-shape0 libxcb-xkb1 libxkbcommon-x11-0"
wanted="$offscreen"
for part in "$@"; do
  case "$part" in
    screen) wanted="$wanted $screen" ;;
    venv) wanted="$wanted python3-venv" ;;
    *) wanted="$wanted $part" ;;
  esac
done
if ! command -v dpkg-query >/dev/null 2>&1; then
  exit 0   # not a Debian: Qt names what is missing when it starts
fi
missing=""
for package in $wanted; do
  state=$(dpkg-query -W -f='${Status}' "$package" 2>/dev/null || true)
  case "$state" in
    *"ok installed"*) ;;
    *)
      # Debian 13 and Ubuntu 24.04 call some of them NAMEt64.
      state=$(dpkg-query -W -f='${Status}' "${package}t64" 2>/dev/null || true)
      case "$state" in *"ok installed"*) ;; *) missing="$missing $package" ;; esac ;;
  esac
done
[ -n "$missing" ] || exit 0
line="apt-get install -y --no-install-recommends$missing"
if [ "$(id -u)" = 0 ]; then
  become=""
elif command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null; then
  become="sudo -n"
else
  echo "SegStudio needs system libraries that are not installed. Please run:" >&2
  echo "  sudo $line" >&2
  exit 1
fi
echo "Installing system libraries:$missing"
$become apt-get update -qq
DEBIAN_FRONTEND=noninteractive $become $line >/dev/null
