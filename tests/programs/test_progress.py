from __future__ import annotations

import contextlib
import io
import json

import pytest

from behavior_priors.programs.progress import Progress, Stopwatch, format_seconds


class FakeClock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_is_a_line_per_epoch() -> None:
    clock, stream = FakeClock(), io.StringIO()
    progress = Progress("parrot", 5000, start=1000, stream=stream, clock=clock)
    clock.now += 30.0  # compiles: 1000 steps in 30 s
    progress.update(2000, {"success": 0.0}, updates=300)
    clock.now += 2.0  # 500 steps/s
    progress.update(3000, {"success": 0.3125}, updates=300)
    clock.now += 4.0  # 250 steps/s; by now 2000 steps in 6 s since the first epoch
    progress.update(4000, {"success": 1.0})
    progress.close()
    assert stream.getvalue().splitlines() == [
        "parrot  2000/5000 steps  33 steps/s  10 updates/s  success 0  1:30 left",
        "parrot  3000/5000 steps  500 steps/s  150 updates/s  success 0.312  0:04 left",
        "parrot  4000/5000 steps  250 steps/s  success 1  0:03 left",
    ]


def test_progress_is_a_bar_on_a_terminal() -> None:
    stream = Terminal()
    progress = Progress("collect", 200, unit="episodes", stream=stream)
    progress.update(100, {"success": 0.5})
    progress.close()
    shown = stream.getvalue()
    assert "\r" in shown
    assert "collect:  50%" in shown
    assert "100/200" in shown
    assert "episodes" in shown
    assert "success 0.5" in shown


def test_progress_is_nowhere_where_standard_error_is_closed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stderr", None)
    progress = Progress("parrot", 5000)
    progress.update(1000, {"success": 0.0})
    progress.close()
    assert capsys.readouterr().out == ""


def test_stopwatch_adds_up_over_restarts() -> None:
    clock = FakeClock()
    before = Stopwatch(clock=clock)
    with before.span("train"):
        clock.now += 2.0
    with contextlib.suppress(ZeroDivisionError), before.span("eval"):
        clock.now += 3.0
        raise ZeroDivisionError

    after = Stopwatch(clock=clock)
    after.restore(json.loads(json.dumps(before.seconds())))
    with after.span("train"):
        clock.now += 0.5
    assert after.seconds() == {"train": 2.5, "eval": 3.0}
    assert before.seconds() == {"train": 2.0, "eval": 3.0}


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0:00"), (59.6, "1:00"), (3599, "59:59"), (3661.2, "1:01:01")]
)
def test_format_seconds(seconds: float, text: str) -> None:
    assert format_seconds(seconds) == text
