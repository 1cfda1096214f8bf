"""Processes beside a sweep's own come and go, and are looked at all the same."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from launch import jobs

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="Linux tells")


def test_a_process_that_ends_while_it_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    read, own = Path.read_text, str(os.getpid())

    def end(path: Path, *args: Any, **kwargs: Any) -> Any:
        if path.parent.name == own:
            return read(path, *args, **kwargs)
        raise ProcessLookupError(3, "No such process", str(path))

    monkeypatch.setattr(Path, "read_text", end)
    monkeypatch.setattr(Path, "exists", end)
    pages = int(read(Path("/proc/self/statm")).split()[1])
    measured = jobs.session_memory(os.getsid(0)) / os.sysconf("SC_PAGE_SIZE")
    assert measured == pytest.approx(pages, rel=0.2)
