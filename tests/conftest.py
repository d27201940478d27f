"""For every test: a window needs no screen, and what is awaited may take its time."""

from __future__ import annotations

import os

import pytest
from PySide6.QtWidgets import QApplication

from tests.patient_bot import PatientBot

if not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")


@pytest.fixture
def qtbot(qapp: QApplication, request: pytest.FixtureRequest) -> PatientBot:
    """pytest-qt's robot, patient."""
    return PatientBot(request)
