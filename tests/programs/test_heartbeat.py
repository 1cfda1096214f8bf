"""Signs of life: when they come, and that they never are in the way."""

from __future__ import annotations

import io
import re
import sys
import threading
import time

import pytest

from behavior_priors.programs.heartbeat import heartbeat


def test_work_that_is_done_soon_is_silent() -> None:
    stream = io.StringIO()
    with heartbeat("report", "500 episodes", stream=stream):
        pass
    assert stream.getvalue() == ""


def test_long_work_gives_a_line_at_each_moment_and_then_again_and_again() -> None:
    stream = io.StringIO()
    began = time.monotonic()
    with heartbeat("report", "500 episodes", stream=stream, moments=(0.01, 0.02, 0.05)):
        while stream.getvalue().count("\n") < 5:
            assert time.monotonic() - began < 30
            time.sleep(0.01)
    assert time.monotonic() - began >= 0.15  # the fifth line's
    lines = stream.getvalue().splitlines()
    assert all(re.fullmatch(r"report   500 episodes, 0:0\d so far", line) for line in lines)


def test_nothing_is_left_of_it_where_the_work_fails() -> None:
    before = threading.active_count()
    with pytest.raises(KeyError), heartbeat("report", "500 episodes", stream=io.StringIO()):
        raise KeyError
    assert threading.active_count() == before


def test_a_stream_that_takes_nothing_disturbs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    stream.close()
    with heartbeat("report", "500 episodes", stream=stream, moments=(0.001,)):
        time.sleep(0.02)
    monkeypatch.setattr(sys, "stderr", None)
    with heartbeat("report", "500 episodes", moments=(0.001,)):
        time.sleep(0.01)
