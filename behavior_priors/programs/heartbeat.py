"""Signs of life from work that is one long computation, of which nobody sees how far it is."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Iterator
from typing import TextIO

from tqdm import tqdm

from behavior_priors.programs.progress import format_seconds

FIRST_SECONDS = (10.0, 30.0, 60.0)
"""After which a line is printed; from then on there is one a minute."""


@contextlib.contextmanager
def heartbeat(
    label: str,
    doing: str,
    *,
    stream: TextIO | None = None,
    moments: tuple[float, ...] = FIRST_SECONDS,
) -> Iterator[None]:
    """Prints a line now and then as long as the work inside takes.

        report  500 episodes of each policy, 1:00 so far

    Args:
      label: goes before it.
      doing: the work, in words.
      stream: where to print; standard error by default, nowhere if that is closed.
      moments: seconds after which there is a line; then one every so many as the last says.
    """
    stream = sys.stderr if stream is None else stream
    if stream is None:
        yield
        return
    done = threading.Event()
    began = time.monotonic()

    def beat() -> None:
        number = 0
        while True:
            extra = max(number - len(moments) + 1, 0)
            due = moments[min(number, len(moments) - 1)] + extra * moments[-1]
            if done.wait(max(began + due - time.monotonic(), 0.0)):
                return
            passed = format_seconds(time.monotonic() - began)
            # what it cannot say is not worth ending for; a bar on a terminal stays whole
            with contextlib.suppress(OSError, ValueError):
                tqdm.write(f"{label:7s}  {doing}, {passed} so far", file=stream)
                stream.flush()
            number += 1

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
