r"""Flagfiles x seeds x overrides as independent local processes, and one table at the end.

    python -m launch.sweep --flagfiles=experiments/flags/parrot/quick.flags --seeds=0,1,2 \
        --overrides="--env=grasp/cap;--env=grasp/chair" --root=runs/sweep/objects

    ROOT/FLAGFILE/OVERRIDES/seedN/   a run's workdir
    ROOT/logs/                       what the runs have said
    ROOT/report/                     table and figure of `experiments.report`
    ROOT/sweep.json                  what each run was started with

The same command continues a sweep that was killed: it skips runs that are complete and starts the
others again, which go on from where they were. `{seed}` in an override is the run's seed, as in
`--models=runs/priors/seed{seed}`. What runs compile is kept for the others in
`~/.cache/behavior_priors`, unless `JAX_COMPILATION_CACHE_DIR` says where.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import re
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

from behavior_priors.config import flags
from behavior_priors.config.flag_file import find_flag_file
from behavior_priors.config.ranges import Count, Positive, Seed
from behavior_priors.errors import UserError
from behavior_priors.programs import entry, termination
from behavior_priors.reports.tables import Run, make_table, read_run, to_markdown
from behavior_priors.runs.workdir import FLAGS_FILE, write_json_atomic
from behavior_priors.system import locks
from behavior_priors.system.foreign_files import MEGABYTE, check_folder, read_json, read_text
from launch.compiled import share_compiled
from launch.jobs import Job, make_budget, run_jobs
from launch.status import Planned, Status

RECORD_FILE = "sweep.json"
OWN_FLAGS = {"seed": "seeds", "flagfile": "flagfiles", "workdir": "root"}
"""Flags of runs that the sweep sets, by flags of its own."""

_LARGEST_RECORD = 64 * MEGABYTE

_DEPTH = 3
"""Levels of folders above those of the runs' stages."""

LONGEST_LABEL = 80
"""Letters of a folder's name that are taken from overrides."""


@dataclass(frozen=True)
class SweepConfig:
    """The program's flags.

    Attributes:
      root: folder of the sweep.
      experiment: a program in experiments/, or the name of a module with a dot in it.
      flagfiles: presets, each of which is run; none for the defaults.
      seeds: of everything random, each of which is run.
      overrides: alternatives with semicolons, each of them flags with spaces that are added.
      jobs: runs at a time; none for as many as fit into cores and memory.
      cores_per_job: cores of each run, which no other run gets.
      memory_gb_per_job: memory of each run, which is stopped if it takes more.
      keys: results in the table, as for experiments.report.
      curve: metric in the figure, as for experiments.report; none for no figure.
    """

    root: str
    experiment: str = "parrot"
    flagfiles: tuple[str, ...] = ()
    seeds: tuple[Seed, ...] = (0,)
    overrides: str = ""
    jobs: Count | None = None
    cores_per_job: Count = 1
    memory_gb_per_job: Positive = 2.0
    keys: tuple[str, ...] = ("*/success_rate", "*/return_mean")
    curve: str | None = "eval/success_rate"


class _Record(TypedDict):
    program: str
    arguments: list[str]
    flagfile: str


def plan(config: SweepConfig) -> list[Planned]:
    """All runs of a sweep, seeds innermost.

    Raises:
      UserError: there is nothing to run, a flagfile or program is missing, or two runs are alike.
    """
    root, module = Path(config.root), _find_module(config.experiment)
    if not config.seeds:
        raise UserError("--seeds is empty; give some, such as 0,1,2")
    presets: list[tuple[str, list[str], str]] = [("", [], "")]
    if config.flagfiles:
        presets = [(Path(f).stem, [f"--flagfile={f}"], _read(f)) for f in config.flagfiles]
    alternatives = [("", [])] if not config.overrides.strip() else _split(config.overrides)
    planned: dict[str, Planned] = {}
    for preset, flagfile, text in presets:
        for label, override in alternatives:
            for seed in config.seeds:
                name = "/".join(part for part in (preset, label, f"seed{seed}") if part)
                if name in planned:
                    raise UserError(
                        f"two runs would be {name}; --flagfiles, --overrides and --seeds should "
                        "each differ in more than their folder or punctuation"
                    )
                workdir = root / name
                own = [argument.replace("{seed}", str(seed)) for argument in override]
                arguments = [*flagfile, *own, f"--seed={seed}"]
                command = [module, *arguments, f"--workdir={workdir}"]
                log = root / "logs" / f"{name.replace('/', '.')}.log"
                record = {"program": module, "arguments": arguments, "flagfile": text}
                planned[name] = Planned(Job(name, command, log), workdir, record)
    return list(planned.values())


def open_root(root: Path) -> locks.Lock:
    """Takes the folder of a sweep.

    Raises:
      UserError: it cannot be used, holds links, or is taken.
    """
    try:
        root.mkdir(parents=True, exist_ok=True)
        check_folder(root, depth=_DEPTH)
        lock = locks.hold(root / locks.LOCK_FILE, patience=0.0)
    except OSError as error:
        raise UserError(f"--root={root} cannot be used: {error.strerror}") from error
    if lock is None:
        holder = locks.holder(root / locks.LOCK_FILE)
        raise UserError(
            f"--root={root} is in use by another sweep, {holder}; wait for it or stop it"
        )
    return lock


def record_plan(root: Path, planned: Sequence[Planned]) -> None:
    """Writes what runs are started with, so that results are never taken for those of other flags.

    Raises:
      UserError: a run was started with something else before.
    """
    path = root / RECORD_FILE
    records: dict[str, Any] = {}
    if path.exists():
        try:
            records = read_json(path, dict[str, _Record], limit=_LARGEST_RECORD)
        except UserError as error:
            raise UserError(f"{error}; it is damaged, choose another --root") from None
    for run in planned:
        before = records.setdefault(run.job.name, run.record)
        if before != run.record:
            changed = ", ".join(n for n in run.record if before.get(n) != run.record[n])
            raise UserError(
                f"--root={root}: {run.job.name} was started with another {changed}; choose another "
                "--root, or remove that run and its entry in " + RECORD_FILE
            )
    write_json_atomic(path, records)


def report(config: SweepConfig, planned: Sequence[Planned]) -> None:
    """Writes and shows the table of what is complete, if anything is."""
    if any(run.is_complete() for run in planned):
        table = make_table([_read_run(run.workdir) for run in planned], config.keys)
        # figures and JAX's libraries, which a sweep does not want before its runs have ended
        from experiments.report import write_report

        written = write_report(table, Path(config.root) / "report", config.curve)
        print(f"\n{to_markdown(table)}\nsee {', '.join(map(str, written))}")


def main() -> None:
    """Runs the sweep that the command line describes."""
    config = flags.read(SweepConfig)
    planned = plan(config)
    budget = make_budget(config.jobs, config.cores_per_job, config.memory_gb_per_job)
    root = Path(config.root)
    lock = open_root(root)
    record_plan(root, planned)
    share_compiled()
    status = Status(planned)
    jobs = [run.job for run in planned if not run.is_complete()]
    with termination.deferred():
        termination.must_save(True)  # the runs have to, each in its own time
        events = run_jobs(jobs, budget, should_stop=status.should_stop)
        with contextlib.closing(events):
            for event in events:
                status.show(event)
    if status.lost is not None:
        raise status.lost
    report(config, planned)
    lock.release()
    if status.failed:
        sys.exit(1)


def _read_run(workdir: Path) -> Run:
    """A run, also one that has ended before it wrote its flags."""
    if (workdir / FLAGS_FILE).is_file():
        return read_run(workdir)
    return Run(workdir, experiment="unknown", flags={}, summary=None)


def _find_module(experiment: str) -> str:
    module = experiment if "." in experiment else f"experiments.{experiment}"
    try:
        found = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        found = None
    if found is None:
        raise UserError(
            f"--experiment={experiment}: there is no module {module}; give a program of "
            "experiments/ such as parrot, or a module with a dot in its name"
        )
    return module


def _read(flagfile: str) -> str:
    """The flags in a file; comments may change while a sweep is under way.

    Every run reads it again, so that it is a file, and no pipe.
    """
    try:
        lines = read_text(find_flag_file(flagfile).resolve()).splitlines()
    except UserError as error:
        raise UserError(f"--flagfiles: {error}") from None
    except (OSError, RuntimeError):  # a link to itself, in Python up to 3.12
        raise UserError(f"--flagfiles: {flagfile} is not a file of flags") from None
    return "\n".join(line for line in map(str.strip, lines) if line and not line.startswith("#"))


def _split(overrides: str) -> list[tuple[str, list[str]]]:
    """Alternatives as the name of a folder and as arguments; an empty one is called `base`."""
    alternatives = []
    for text in overrides.split(";"):
        try:
            arguments = shlex.split(text)
        except ValueError as error:
            raise UserError(f"--overrides: {text!r} cannot be split ({error})") from None
        for argument in arguments:
            name = argument.lstrip("-").partition("=")[0]
            if not argument.startswith("--") or not name:
                raise UserError(f"--overrides: {argument!r} is no flag; write --name=value")
            if name in OWN_FLAGS:
                raise UserError(f"--overrides: the sweep sets --{name} by --{OWN_FLAGS[name]}")
        label = "_".join(argument.lstrip("-") for argument in arguments)
        label = re.sub(r"[^\w.,=+-]", "-", label) or "base"
        if len(label) > LONGEST_LABEL:
            label = f"{label[:LONGEST_LABEL]}-{hashlib.sha256(label.encode()).hexdigest()[:8]}"
        alternatives.append((label, arguments))
    return alternatives


if __name__ == "__main__":
    flags.define(SweepConfig)
    entry.run(main)
