"""What a plugin said is kept, unless it lacked something that may be there by now."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from segstudio.core.plugin_sources import PluginSource
from segstudio.plugin_api import ModelSpec, Plugin, plugin_to_json
from segstudio.runtime.plugin_listing import kept_plugin, listed_plugin

SOURCE = PluginSource("tiny", "package", "tiny:PLUGIN", "1.0 abc")


@pytest.mark.parametrize("reason", ["", "its library is not installed"])
def test_a_model_that_lacked_something_is_asked_for_again_when_packages_changed(
    reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEGSTUDIO_HOME", str(tmp_path / "home"))
    packages = tmp_path / "site-packages"
    packages.mkdir()
    monkeypatch.syspath_prepend(str(packages))
    plugin = Plugin("tiny", "Tiny", (ModelSpec("tiny/net", "Net", "net", unavailable=reason),))
    output = json.dumps({"plugin": plugin_to_json(plugin)}).encode()
    assert listed_plugin(output, SOURCE, "", 10) == plugin
    assert kept_plugin(SOURCE) == plugin
    assert kept_plugin(replace(SOURCE, key="1.1 def")) is None
    (packages / "library").mkdir()
    later = packages.stat().st_mtime_ns + 10**9
    os.utime(packages, ns=(later, later))
    assert kept_plugin(SOURCE) == (None if reason else plugin)
