"""Results of a run's finished parts, so that a command that is repeated does only what is left.

    results.json     {NAME: {"of": {...}, "results": {...}, "files": [...]}, ...}

What is found there is taken only where it is of the same things, and where the files that belong to
it are there; everything else is computed again.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypedDict

from behavior_priors.errors import UserError
from behavior_priors.programs.heartbeat import heartbeat
from behavior_priors.runs.workdir import ADAPTATION_FILE, ORACLE_FILE, write_json_atomic
from behavior_priors.system.foreign_files import read_json

RESULTS_FILE = "results.json"

Results = Mapping[str, float]
Of = Mapping[str, bool | int | float | str | None]
"""What results are of, beyond the flags that a run cannot be continued with other values of."""

_FILES = ("figures/*", "videos/*", f"*/{ADAPTATION_FILE}", ORACLE_FILE)
"""Files of a run that its parts leave beside their results."""


class _Entry(TypedDict):
    of: dict[str, bool | int | float | str | None]
    results: dict[str, float | None]
    files: list[str]


class Kept:
    """The results that the folder of a run has, by the names of its parts."""

    def __init__(self, workdir: Path) -> None:
        """Reads what is there; a file that cannot be read is as good as none.

        Args:
          workdir: the run's folder, which is this process's.
        """
        self._workdir = workdir
        self._path = workdir / RESULTS_FILE
        self._entries: dict[str, _Entry] = {}
        with contextlib.suppress(UserError, OSError):
            self._entries = read_json(self._path, dict[str, _Entry])

    def find(self, name: str, of: Of) -> dict[str, float] | None:
        """The results of a part; None where it has to be done.

        Args:
          name: of the part.
          of: what they have to be of.
        """
        entry = self._entries.get(name)
        if entry is None or entry["of"] != of or not self._files().keys() >= set(entry["files"]):
            return None
        return {n: math.nan if x is None else x for n, x in entry["results"].items()}

    def keep(self, name: str, of: Of, results: Results, files: Sequence[str] = ()) -> None:
        """Keeps the results of a part.

        Args:
          name: of the part.
          of: what they are of.
          results: scalars; what is not finite is no number when it is found again.
          files: that belong to them, in the run's folder.

        Raises:
          UserError: the file cannot be written.
        """
        finite = {n: x if math.isfinite(x) else None for n, x in results.items()}
        entry: _Entry = {"of": dict(of), "results": finite, "files": list(files)}
        self._entries[name] = entry
        write_json_atomic(self._path, self._entries)

    def once(
        self, name: str, of: Of, compute: Callable[[], Mapping[str, float] | None], doing: str
    ) -> dict[str, float]:
        """The results of a part that is done only where they are not known.

        Args:
          name: of the part.
          of: what they are of.
          compute: gives them, and may write files; None where something was missing, and the part
            is to be tried again next time.
          doing: the work in words, for who waits for it.

        Raises:
          UserError: as `keep`.
        """
        if (found := self.find(name, of)) is not None:
            print(f"{name:7s}  done before", flush=True)
            return found
        before = self._files()
        with heartbeat(name, doing):
            results = compute()
        if results is None:
            return {}
        written = [file for file, time in self._files().items() if before.get(file) != time]
        self.keep(name, of, results, written)
        return dict(results)

    def _files(self) -> dict[str, int]:
        """Files that parts of the run have left, and when each was written."""
        return {
            str(path.relative_to(self._workdir)): path.stat().st_mtime_ns
            for pattern in _FILES
            for path in sorted(self._workdir.glob(pattern))
            if path.is_file()
        }
