"""Two revisions side by side: do all presets and methods still come to the same bits?

    python -m tests.net --before=main~3                  against what the working tree holds
    python -m tests.net --before=v1 --cases='parrot/.*'  some of them

A rebuilding that is to change nothing is run against the revision that it began at. What it calls
otherwise stands in `tests/net/names.py`, commands that it spells otherwise in `Case.before`.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import importlib.util
import io
import re
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tests.experiments import runs
from tests.net.cases import Case, Command, cases
from tests.net.outcomes import differences, outcome

SHOWN = 12
"""Differences of a case that are listed."""

LINKED = ("experiments", "examples", "tests")
"""Folders of a revision that commands name files of."""


def unpack(revision: str, folder: Path) -> Path:
    """The files of a revision."""
    command = ["git", "archive", "--format=tar", revision]
    data = subprocess.run(command, cwd=runs.ROOT, check=True, capture_output=True).stdout
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        archive.extractall(folder, filter="data")
    return folder


def run_all(commands: Sequence[Command], tree: Path, folder: Path) -> str | None:
    """Runs commands one after another on a tree's code.

    Returns:
      The last words of one that failed; None if none did.
    """
    folder.mkdir(parents=True)
    for name in LINKED:
        (folder / name).symlink_to(tree / name)
    environment = runs.environment() | {"PYTHONPATH": str(tree)}
    for module, *arguments in commands:
        command = [sys.executable, "-m", module, *arguments]
        result = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, check=False
        )
        if result.returncode:
            return f"{module} ended with {result.returncode}: {result.stderr[-600:].strip()}"
    for name in LINKED:
        (folder / name).unlink()
    return None


def compare(case: Case, before: Path, folder: Path) -> tuple[int, list[str]]:
    """Runs a case on both revisions at the same time.

    Returns:
      How many things have been compared, and what differs, a line each.
    """
    places = (folder / "before", folder / "after")
    work = (
        (case.before or case.commands, before, places[0]),
        (case.commands, runs.ROOT, places[1]),
    )
    with concurrent.futures.ThreadPoolExecutor(len(work)) as pool:
        said = list(pool.map(lambda one: run_all(*one), work))
    failed = [f"{p.name}: {text}" for p, text in zip(places, said, strict=True) if text is not None]
    if failed:
        return 0, failed
    after = outcome(places[1])
    return len(after), differences(outcome(places[0], is_before=True), after)


def main() -> int:
    """Compares what the command line names; 1 if anything differs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--before", required=True, metavar="REVISION", help="of git")
    parser.add_argument("--cases", default=".*", metavar="PATTERN", help="of their whole names")
    options = parser.parse_args()
    chosen = [case for case in cases() if re.fullmatch(options.cases, case.name)]
    if not chosen:
        parser.error(f"--cases={options.cases}: choose from {', '.join(c.name for c in cases())}")
    differing = 0
    with tempfile.TemporaryDirectory() as name:
        before = unpack(options.before, Path(name) / "revision")
        for case in chosen:
            if importlib.util.find_spec(case.needs) is None:
                print(f"{case.name}: left out, it needs {case.needs}", flush=True)
                continue
            began = time.perf_counter()
            count, lines = compare(case, before, Path(name) / case.name)
            seconds = f"({time.perf_counter() - began:.0f} s)"
            verdict = "DIFFERS" if lines else f"the same {count} arrays, numbers and files"
            print(f"{case.name}: {verdict} {seconds}", flush=True)
            for line in lines[:SHOWN]:
                print(f"  {line}", flush=True)
            if len(lines) > SHOWN:
                print(f"  and {len(lines) - SHOWN} more", flush=True)
            differing += bool(lines)
    print(f"{len(chosen)} cases, {differing} of them differ")
    return int(differing > 0)


if __name__ == "__main__":
    sys.exit(main())
