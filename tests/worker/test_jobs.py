"""Jobs as the drawer shows them."""

from __future__ import annotations

from pytestqt.qtbot import QtBot

from segstudio.core.errors import UserError
from segstudio.runtime import jobs
from segstudio.runtime.jobs import Job, JobQueue


def test_a_job_reports_ends_once_and_is_kept(qtbot: QtBot) -> None:
    queue = JobQueue()
    job = queue.add(Job("Predict", unit="images"))
    ends: list[str] = []
    job.ended.connect(lambda: ends.append(job.state))
    assert job.state == "queued"
    job.report(0.25, "first", done=1)
    assert (job.state, job.fraction, job.text) == ("running", 0.25, "first")
    job.finish()
    job.fail(UserError("too late"))
    job.report(0.1)
    assert (job.state, job.fraction, job.error, ends) == ("done", 1.0, None, ["done"])
    assert queue.jobs == (job,) and queue.running == ()
    queue.clear_ended()
    assert queue.jobs == ()


def test_cancel_shows_at_once_and_a_hard_stop_is_offered_later(qtbot: QtBot, monkeypatch) -> None:
    monkeypatch.setattr(jobs, "FORCE_STOP_AFTER_MS", 20)
    calls: list[str] = []
    job = Job("Long", on_cancel=lambda: calls.append("cancel"), on_force_stop=lambda: calls.append("force"))
    job.begin()
    job.cancel()
    job.cancel()
    assert job.state == "cancelling" and calls == ["cancel"] and not job.can_force_stop
    qtbot.waitUntil(lambda: job.can_force_stop)
    job.force_stop()
    job.end_cancelled()
    assert calls == ["cancel", "force"] and job.state == "cancelled"


def test_a_waiting_job_without_a_worker_is_cancelled_at_once(qtbot: QtBot) -> None:
    job = Job("Waiting")
    job.cancel()
    assert job.state == "cancelled"


def test_rate_and_time_left_are_told_when_they_are_known(qtbot: QtBot, monkeypatch) -> None:
    now = [100.0]
    monkeypatch.setattr(jobs.time, "monotonic", lambda: now[0])
    job = Job("Predict", unit="images")
    job.begin()
    assert (job.rate_text, job.left_text) == ("", "")
    now[0] = 110.0
    job.report(0.25, done=50)
    assert (job.rate_text, job.left_text) == ("5.0 images/s", "30 s left")
    now[0] = 600.0
    job.report(0.25, done=50)
    assert (job.rate_text, job.left_text) == ("10.0 s per image", "25 min left")
