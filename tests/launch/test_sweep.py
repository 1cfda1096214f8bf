"""Sweeps as processes: killed where it hurts, resumed, refused, and one with a real experiment."""

from __future__ import annotations

import csv
import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from behavior_priors.config import flags
from behavior_priors.methods.presets import find_preset
from launch import jobs
from launch.compiled import VARIABLE
from launch.sweep import SweepConfig, plan
from tests.experiments import runs
from tests.experiments.conftest import one_line
from tests.experiments.runs import Result
from tests.experiments.settings import config_of

SECONDS = 200.0
COUNTER = ("--experiment=tests.launch.counter", "--memory_gb_per_job=0.5", "--root=sweep")
COUNT = 20
JOBS = f"--jobs={min(2, len(jobs.available_cores()))}"


class Sweep:
    """A sweep under way; `kill` ends it and nothing that it has started."""

    def __init__(self, folder: Path, *arguments: str, keeps_compiled: bool = False) -> None:
        environment = runs.environment(writes_cache=False)
        if keeps_compiled:
            del environment[VARIABLE]
            environment["XDG_CACHE_HOME"] = str(folder / "caches")
        self._log = folder / f"{time.monotonic_ns()}.txt"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "launch.sweep", *arguments],
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.PIPE,
                text=True,
            )

    def output(self) -> str:
        return self._log.read_text()

    def wait_until(self, condition: Callable[[], bool]) -> None:
        end = time.monotonic() + SECONDS
        while not condition():
            assert self._process.poll() is None, self.output()
            assert time.monotonic() < end, self.output()
            time.sleep(0.02)

    def kill(self, number: signal.Signals = signal.SIGKILL) -> int:
        os.kill(self._process.pid, number)
        return self.finish().status

    def finish(self) -> Result:
        _, error = self._process.communicate(timeout=SECONDS)
        return Result(self._process.returncode, self.output(), error, 0.0)


def sweep(folder: Path, *arguments: str) -> Result:
    return Sweep(folder, *arguments).finish()


def counts(folder: Path) -> list[int]:
    """How far every run has counted."""
    paths = sorted(folder.glob("sweep/**/count.txt"))
    return [len(path.read_text().splitlines()) for path in paths]


def wait_for_locks(folder: Path) -> float:
    """Seconds until no process of a run is left: each holds a lock as long as it lives."""
    began = time.monotonic()
    for path in folder.glob("sweep/logs/*.lock"):
        with path.open("r+") as file:
            while True:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    assert time.monotonic() < began + 10.0, path
                    time.sleep(0.01)
    return time.monotonic() - began


def test_eight_runs_survive_two_kills(tmp_path: Path) -> None:
    for name in ("short", "long"):
        scale = {"short": 1, "long": 10}[name]
        (tmp_path / f"{name}.flags").write_text(f"--scale={scale}\n--count={COUNT}\n")
    arguments = (
        *COUNTER,
        "--flagfiles=short.flags,long.flags",
        "--seeds=0,1",
        "--overrides=--pause=0.05;--pause=0.04 --megabytes=1",
        JOBS,
    )

    first = Sweep(tmp_path, *arguments)
    first.wait_until(lambda: sum(counts(tmp_path)) > 5)
    assert first.kill() == -signal.SIGKILL
    wait_for_locks(tmp_path)  # its runs have died with it
    at_first_kill = counts(tmp_path)
    assert 0 < sum(at_first_kill) < 8 * COUNT

    second = Sweep(tmp_path, *arguments)
    second.wait_until(lambda: len(list(tmp_path.glob("sweep/**/summary.json"))) >= 3)
    assert second.kill() == -signal.SIGKILL
    # started again at once, without waiting for what may still be dying
    result = sweep(tmp_path, *arguments)
    assert (result.status, result.stderr) == (0, "")

    workdirs = sorted(path.parent for path in tmp_path.glob("sweep/**/summary.json"))
    assert [str(path.relative_to(tmp_path / "sweep")) for path in workdirs] == [
        f"{preset}/{override}/seed{seed}"
        for preset in ("long", "short")
        for override in ("pause=0.04_megabytes=1", "pause=0.05")
        for seed in (0, 1)
    ]
    for workdir in workdirs:
        lines = [line.split() for line in (workdir / "count.txt").read_text().splitlines()]
        assert [int(i) for i, _ in lines] == list(range(COUNT)), workdir
    writers = [
        len({line.split()[1] for line in (w / "count.txt").read_text().splitlines()})
        for w in workdirs
    ]
    assert max(writers) >= 2  # some run went on where another process had been killed

    rows = list(csv.DictReader((tmp_path / "sweep/report/report.csv").read_text().splitlines()))
    assert [(r["scale"], r["pause"], r["runs"], r["value"], r["high"]) for r in rows] == [
        ("1.0", "0.05", "2", "20.5", "21.0"),
        ("1.0", "0.04", "2", "20.5", "21.0"),
        ("10.0", "0.05", "2", "200.5", "201.0"),
        ("10.0", "0.04", "2", "200.5", "201.0"),
    ]
    assert (tmp_path / "sweep/report/report.md").read_text() in result.stdout
    assert "complete already" in result.stdout
    assert "8/8 done  0 running  0 waiting  0 failed" in result.stdout

    # what is complete is not run again, and more may be added
    before = runs.files(tmp_path / "sweep/short")
    again = sweep(tmp_path, *arguments)
    assert again.status == 0
    assert "started" not in again.stdout
    more = sweep(tmp_path, *(x.replace("seeds=0,1", "seeds=0,1,2") for x in arguments))
    assert more.stdout.count("started") == 4
    after = runs.files(tmp_path / "sweep/short")
    assert {name: after[name] for name in before} == before
    assert len(after) > len(before)


def test_an_override_knows_the_seed() -> None:
    config = SweepConfig(root="sweep", seeds=(3, 4), overrides="--models=priors/seed{seed}")
    commands = [run.job.command for run in plan(config)]
    assert [command[1:3] for command in commands] == [
        ["--models=priors/seed3", "--seed=3"],
        ["--models=priors/seed4", "--seed=4"],
    ]


def test_runs_share_what_they_compile(tmp_path: Path) -> None:
    alone = Sweep(tmp_path, *COUNTER, "--seeds=0,1", keeps_compiled=True)
    assert alone.finish().status == 0
    told = {
        line for log in tmp_path.glob("sweep/logs/*.log") for line in log.read_text().splitlines()
    }
    (folder,) = {Path(x.split(maxsplit=1)[1]) for x in told if x.startswith("compiled ")}
    # the user's, with a name for the processor: a sweep's folder may be a stranger's
    assert folder.parent == tmp_path / "caches/behavior_priors/compiled"
    assert len(folder.name) == 12
    # who has a folder keeps it
    assert sweep(tmp_path, *COUNTER, "--root=other").status == 0
    log = (tmp_path / "other/logs/seed0.log").read_text()
    assert f"compiled {runs.environment()[VARIABLE]}" in log


def test_a_run_that_fails_does_not_stop_the_others(tmp_path: Path) -> None:
    result = sweep(
        tmp_path,
        *COUNTER,
        "--overrides=--mode=badly;--mode=silently;;--megabytes=700 --pause=1",
        JOBS,
    )
    assert result.status == 1
    lines = {line.split()[9]: line for line in result.stdout.splitlines() if " failed, " in line}
    assert "status 2 " in lines["mode=badly/seed0"]
    assert "error: --mode=badly is what was asked for" in lines["mode=badly/seed0"]
    assert "without a summary.json" in lines["mode=silently/seed0"]
    too_large = lines["megabytes=700_pause=1/seed0"]
    assert "status -9 " in too_large
    assert "GB of --memory_gb_per_job=0.5" in too_large
    assert "1/4 done  0 running  0 waiting  3 failed" in result.stdout
    text = (tmp_path / "sweep/report/report.md").read_text()
    assert "| counter | count | 1 | 20.0 |" in text
    for name in lines:
        assert f"- sweep/{name}\n" in text
    log = (tmp_path / "sweep/logs/base.seed0.log").read_text()
    assert "$ python -m tests.launch.counter --seed=0 --workdir=sweep/base/seed0" in log


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_sweep_that_is_stopped_stops_its_runs(tmp_path: Path, number: signal.Signals) -> None:
    program = Sweep(tmp_path, *COUNTER, "--overrides=--pause=10", "--jobs=1")
    program.wait_until(lambda: sum(counts(tmp_path)) > 0)
    assert program.kill(number) == 128 + number
    assert wait_for_locks(tmp_path) < 0.5
    assert counts(tmp_path) == [1]


def test_a_sweep_that_is_terminated_lets_its_runs_save(tmp_path: Path) -> None:
    program = Sweep(
        tmp_path, *COUNTER, "--overrides=--pause=1.5 --mode=slowly;--pause=1.6", "--jobs=1"
    )
    program.wait_until(lambda: sum(counts(tmp_path)) > 0)
    assert program.kill(signal.SIGTERM) == 143
    assert wait_for_locks(tmp_path) < 0.5
    assert [path.read_text() for path in tmp_path.glob("sweep/*/seed0/saved.txt")] == ["0"]
    lines = program.output().splitlines()
    assert "pause=1.5_mode=slowly/seed0 stopped in " in lines[-1]
    assert lines[-1].endswith("; the same command continues it")
    assert sum("started" in line for line in lines) == 1
    assert not (tmp_path / "sweep" / ".lock").exists()


def test_one_sweep_at_a_time(tmp_path: Path) -> None:
    program = Sweep(tmp_path, *COUNTER, "--overrides=--pause=10", "--jobs=1")
    program.wait_until(lambda: sum(counts(tmp_path)) > 0)
    one_line(
        sweep(tmp_path, *COUNTER, "--overrides=--pause=10", "--jobs=1"),
        ("--root=sweep", "in use by another sweep, process ", " since ", "wait for it or stop it"),
    )
    program.kill()
    wait_for_locks(tmp_path)


def test_results_of_other_flags_are_not_taken(tmp_path: Path) -> None:
    (tmp_path / "a.flags").write_text("--count=1\n")
    arguments = (*COUNTER, "--flagfiles=a.flags")
    assert sweep(tmp_path, *arguments).status == 0
    (tmp_path / "a.flags").write_text("# a comment is no flag\n\n  --count=1\n")
    assert sweep(tmp_path, *arguments).status == 0
    (tmp_path / "a.flags").write_text("--count=2\n")
    one_line(
        sweep(tmp_path, *arguments), ("--root=sweep", "a/seed0", "another flagfile", "another")
    )


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        ((), ("--root", "folder of the sweep")),
        (("--experiment=nope",), ("--experiment=nope", "parrot")),
        (("--experiment=nope.x",), ("--experiment=nope.x", "nope.x")),
        (("--flagfiles=nope.flags",), ("--flagfiles", "nope.flags")),
        (("--seeds=",), ("--seeds", "0,1,2")),
        (("--seeds=0,0",), ("two runs would be seed0",)),
        (("--overrides=env=x",), ("--overrides", "env=x", "--name=value")),
        (("--overrides=--seed=1",), ("--overrides", "--seed", "--seeds")),
        (("--overrides=--workdir=x",), ("--overrides", "--workdir", "--root")),
        (("--overrides=--a='",), ("--overrides", "cannot be split")),
        (("--jobs=0",), ("--jobs=0", "at least 1")),
        (("--cores_per_job=0",), ("--cores_per_job=0", "at least 1")),
        (("--cores_per_job=9999",), ("--cores_per_job=9999", "use fewer")),
        (("--jobs=9999",), ("9999 jobs", "cores")),
        (("--memory_gb_per_job=99999",), ("--memory_gb_per_job=99999", "GB are free")),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_what_cannot_be_swept(
    arguments: tuple[str, ...], names: tuple[str, ...], tmp_path: Path
) -> None:
    root = ("--root=sweep",) if arguments else ()
    one_line(sweep(tmp_path, *root, *arguments), names)
    assert not (tmp_path / "sweep").exists()


@pytest.mark.parametrize(
    "preset", sorted((runs.ROOT / "experiments/flags/sweeps").glob("*.flags")), ids=lambda p: p.stem
)
def test_presets_can_be_planned(preset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(runs.ROOT)
    config = flags.read_file(SweepConfig, preset)
    planned = plan(config)
    assert {run.job.command[0] for run in planned} == {f"experiments.{config.experiment}"}
    assert len({run.workdir for run in planned}) == len(planned) >= 3
    program = find_preset(config.experiment)
    assert program is not None
    # flags of each alternative once: all but the flagfile, the seed and the workdir
    commands = {tuple(run.job.command[2:-2]): run.job.command for run in planned}
    for command in commands.values():
        config_of(program, *command[1:])


def test_slots_share_no_core(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "available_cores", lambda: [0, 2, 4, 5, 7])
    monkeypatch.setattr(jobs, "available_memory", lambda: 8.5e9)
    assert jobs.make_budget(None, 2, 1.0) == ([[0, 2], [4, 5]], 1e9)
    assert jobs.make_budget(None, 1, 2.0) == ([[0], [2], [4], [5]], 2e9)
    assert jobs.make_budget(1, 1, 2.0) == ([[0]], 2e9)


def test_a_run_has_its_cores_and_threads(tmp_path: Path) -> None:
    assert sweep(tmp_path, *COUNTER, "--overrides=--count=1", "--jobs=1").status == 0
    first = sorted(os.sched_getaffinity(0))[:1]
    log = (tmp_path / "sweep/logs/count=1.seed0.log").read_text()
    assert f"cores {first} threads 1\n" in log


def test_a_real_experiment(tmp_path: Path) -> None:
    tiny = [flag for flag in runs.TINY if "loop." not in flag]
    (tmp_path / "tiny.flags").write_text(
        "\n".join(
            [
                *tiny,
                "--methods=sac",
                "--loop.num_envs=8",
                "--loop.steps=480",
                "--loop.epoch_steps=240",
                "--loop.warmup_steps=240",
            ]
        )
    )
    result = sweep(tmp_path, "--flagfiles=tiny.flags", "--seeds=3", "--root=sweep", "--jobs=1")
    assert (result.status, result.stderr) == (0, "")
    summary = runs.read_json(tmp_path / "sweep/tiny/seed3/summary.json")
    assert (summary["seed"], summary["sac/steps"]) == (3, 480)
    names = sorted(path.name for path in (tmp_path / "sweep/report").iterdir())
    assert names == ["curves.csv", "learning_curves.png", "report.csv", "report.md", "runs.csv"]
    rate = summary["sac/success_rate"]
    assert f"| parrot | SAC | 1 | {rate:.3f} |" in (tmp_path / "sweep/report/report.md").read_text()
