"""How far a run is, on the terminal, and where its time went."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, SupportsFloat, TextIO

from tqdm import tqdm

from behavior_priors.errors import UserError
from behavior_priors.system.foreign_files import find_complaint

Clock = Callable[[], float]
"""Seconds since some moment."""


class Progress:
    """How far a run is and when it will be done: a bar on a terminal, else a line per epoch.

        parrot  12000/38000 steps  4210 steps/s  1050 updates/s  success 0.31  0:06 left

    Rates are those of the last epoch. The time left is judged by the epochs after the first, which
    compiles.
    """

    def __init__(
        self,
        label: str,
        total: int,
        *,
        start: int = 0,
        unit: str = "steps",
        stream: TextIO | None = None,
        clock: Clock = time.perf_counter,
    ) -> None:
        """Starts counting.

        Args:
          label: goes before the numbers.
          total: the count at which the work is done.
          start: the count that a resumed run has behind it.
          unit: what is counted; environment steps, unless said otherwise.
          stream: where to show it; standard error by default, nowhere if that is closed.
          clock: tells the time.
        """
        self._label, self._total, self._unit = label, total, unit
        self._stream = sys.stderr if stream is None else stream
        self._clock = clock
        self._last = self._origin = (clock(), start)
        self._epochs = 0
        self._bar: tqdm[Any] | None = None
        if self._stream is not None and self._stream.isatty():
            self._bar = tqdm(desc=label, total=total, initial=start, file=self._stream, unit=unit)

    def update(
        self, step: int, headline: Mapping[str, SupportsFloat], *, updates: int | None = None
    ) -> None:
        """Shows the end of an epoch.

        Args:
          step: what is counted, by now.
          headline: the one or two numbers worth watching, such as the success rate.
          updates: gradient updates of this epoch.
        """
        now, (then, step_then) = self._clock(), self._last
        seconds = max(now - then, 1e-9)
        self._last = (now, step)
        self._epochs += 1
        if self._epochs == 2:
            self._origin = (then, step_then)
        parts = [f"{name} {float(value):.3g}" for name, value in headline.items()]
        if updates is not None:
            parts.insert(0, f"{updates / seconds:.0f} updates/s")
        if self._bar is not None:
            self._bar.set_postfix_str("  ".join(parts), refresh=False)
            self._bar.update(step - self._bar.n)
            return
        if self._stream is None:
            return
        done, pace = f"{step}/{self._total}", f"{(step - step_then) / seconds:.0f}"
        parts = [f"{done} {self._unit}", f"{pace} {self._unit}/s", *parts]
        line = "  ".join([self._label, *parts, f"{self._time_left()} left"])
        print(line, file=self._stream, flush=True)

    def close(self) -> None:
        """Leaves the bar as it is."""
        if self._bar is not None:
            self._bar.close()

    def _time_left(self) -> str:
        (now, step), (then, step_then) = self._last, self._origin
        pace = (now - then) / max(step - step_then, 1)
        return format_seconds(pace * max(self._total - step, 0))


class Stopwatch:
    """Seconds spent in named parts of a run, over all of its restarts.

    with stopwatch.span("train"):
        ...
    """

    def __init__(
        self,
        *,
        clock: Clock = time.perf_counter,
        on_end: Callable[[Mapping[str, float]], None] | None = None,
    ) -> None:
        """Begins at zero.

        Args:
          clock: tells the time.
          on_end: is told the seconds so far at the end of each part that went well.
        """
        self._clock, self._on_end = clock, on_end
        self._seconds: dict[str, float] = {}

    @contextlib.contextmanager
    def span(self, name: str) -> Iterator[None]:
        """Adds the time that passes inside, also where that ends with an exception."""
        start = self._clock()
        try:
            yield
        finally:
            self._seconds[name] = self._seconds.get(name, 0.0) + self._clock() - start
        if self._on_end is not None:
            self._on_end(self._seconds)

    def seconds(self) -> dict[str, float]:
        """The seconds so far by name; also what a checkpoint holds of this."""
        return dict(self._seconds)

    def restore(self, seconds: Mapping[str, float]) -> None:
        """Goes on from what `seconds` has returned in an earlier process.

        Raises:
          UserError: it is no such thing.
        """
        if (complaint := find_complaint(seconds, dict[str, float], "seconds")) is not None:
            raise UserError(f"the checkpoint's {complaint}")
        self._seconds = dict(seconds)


def format_seconds(seconds: float) -> str:
    """`m:ss` below an hour, `h:mm:ss` from there."""
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"
