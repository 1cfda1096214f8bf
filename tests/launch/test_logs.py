"""Sweeps that cannot say what they do: logs on a full disk, and output that nobody takes."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

import pytest

from launch import jobs
from launch.status import Planned, Status
from tests.experiments import runs
from tests.launch.test_sweep import COUNTER, wait_for_locks

BUDGET = jobs.Budget([[core] for core in jobs.available_cores()[:1]], 1e9)


def limited(folder: Path, file_bytes: int, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A sweep in whose folder no file can grow beyond a size, as on a disk that is full."""
    program = (
        "import os, resource, sys\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({file_bytes}, {file_bytes}))\n"
        "os.execv(sys.executable, [sys.executable, '-m', *sys.argv[1:]])\n"
    )
    return subprocess.run(
        [sys.executable, "-c", program, "launch.sweep", *arguments],
        cwd=folder,
        env=runs.environment(writes_cache=False),
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_log_without_room_is_named_and_the_others_go_on(tmp_path: Path) -> None:
    logs = tmp_path / "sweep" / "logs"
    logs.mkdir(parents=True)
    paths = [logs / f"count=1.seed{seed}.log" for seed in range(2)]
    first = "$ python -m tests.launch.counter --count=1 --seed=1 --workdir=sweep/count=1/seed1\n"
    limit = 30_000
    # one takes nothing more, the other what the sweep says itself and a few letters
    for path, room in zip(paths, (0, len(first) + 4), strict=True):
        path.write_bytes(b"x" * (limit - room - 1) + b"\n")
    arguments = (*COUNTER, "--seeds=0,1,2", "--overrides=--count=1", "--jobs=1")
    result = limited(tmp_path, limit, *arguments)
    assert (result.returncode, result.stderr) == (1, "")
    lines = [line for line in result.stdout.splitlines() if " failed, " in line]
    assert len(lines) == 2
    assert lines[0].endswith(
        "count=1/seed0 failed, status 2 in 0:00: sweep/logs/count=1.seed0.log could not be "
        "written: File too large; see sweep/logs/count=1.seed0.log"
    )
    assert "count=1/seed1 failed, status 2 in " in lines[1]
    assert lines[1].endswith(
        "no space left on device for what it said (File too large); see "
        "sweep/logs/count=1.seed1.log"
    )
    assert "1/3 done  0 running  0 waiting  2 failed" in result.stdout
    assert paths[0].read_bytes() == b"x" * (limit - 1) + b"\n"
    assert first.encode() in paths[1].read_bytes()


def test_a_job_that_cannot_be_started_keeps_no_other(tmp_path: Path) -> None:
    """No file is left of a log that was never begun."""
    (tmp_path / "file").write_text("")
    command = ("tests.launch.counter", f"--workdir={tmp_path}/run", "--count=1")
    good = jobs.Job("good", command, tmp_path / "good.log")
    bad = jobs.Job("bad", command, tmp_path / "file" / "bad.log")
    full = jobs.Job("full", command, tmp_path / "full.log")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    events = []
    try:
        for event in jobs.run_jobs([good, bad, full], BUDGET):
            events.append(event)
            if event.job is good and event.status is not None:
                resource.setrlimit(resource.RLIMIT_FSIZE, (10, limits[1]))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [(event.job.name, event.status) for event in events] == [
        ("good", None),
        ("good", 0),
        ("bad", 2),
        ("full", 2),
    ]
    assert events[2].reason == f"{tmp_path}/file/bad.log could not be written: File exists"
    assert events[3].reason == f"{tmp_path}/full.log could not be written: File too large"
    assert not (tmp_path / "full.log").exists()


@pytest.mark.parametrize(
    ("log", "words"),
    [
        (b"$ python -m x\nfirst\nlast\n", "last"),
        (b"$ python -m x\n", "it said nothing"),
        (b"", "it said nothing"),
        (b"$ python -m x\nfirst\nsecon", "its log ends in the middle of a line: secon"),
        (b"a\n\x1b[2Jb\n\n", r"\x1b[2Jb"),
        (b"y" * 100_000 + b"\nlast\n", "last"),
        (None, "its log is not what it was (No such file or directory)"),
    ],
)
def test_the_last_words_of_a_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], log: bytes | None, words: str
) -> None:
    job = jobs.Job("seed0", ("x",), tmp_path / "seed0.log")
    if log is not None:
        job.log.write_bytes(log)
    status = Status([Planned(job, tmp_path / "seed0", {})])
    status.show(jobs.Event(job, None))
    status.show(jobs.Event(job, 3))
    see = "" if log is None else f"; see {job.log}"
    assert status.failed == {"seed0": f"status 3 in 0:00: {words}{see}"}
    assert "0/1 done  0 running  0 waiting  1 failed" in capsys.readouterr().out
    if log is not None:
        end = b"\n" if log.endswith(b"secon") else b""
        assert job.log.read_bytes() == log + end + b"$ exit status 3\n"


@pytest.mark.skipif(len(jobs.available_cores()) < 2, reason="two runs at a time need two cores")
def test_a_sweep_that_nobody_hears_lets_its_runs_save(tmp_path: Path) -> None:
    """When the short run ends, nobody reads that; the long one finishes the line under way."""
    overrides = "--overrides=--count=1 --pause=3;--pause=1.5 --mode=slowly"
    program = subprocess.Popen(
        [sys.executable, "-m", "launch.sweep", *COUNTER, overrides, "--jobs=2"],
        cwd=tmp_path,
        env=runs.environment(writes_cache=False),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert program.stdout is not None
    assert program.stderr is not None
    assert [program.stdout.readline()[-8:] for _ in range(2)] == [b"started\n"] * 2
    program.stdout.close()
    assert program.wait(runs.DEADLINE) == 141
    assert program.stderr.read() == b""
    program.stderr.close()
    assert wait_for_locks(tmp_path) < 0.5
    (saved,) = tmp_path.glob("sweep/pause=1.5_mode=slowly/seed0/saved.txt")
    lines = (saved.parent / "count.txt").read_text().splitlines()
    assert 1 <= len(lines) < 20
    assert int(saved.read_text()) == len(lines) - 1
    assert (tmp_path / "sweep/count=1_pause=3/seed0/summary.json").is_file()
