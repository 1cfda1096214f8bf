"""Independent processes on this machine, within a budget of cores and memory."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from behavior_priors.errors import UserError
from behavior_priors.system import files

POLL = 0.1
"""Seconds between two looks at the jobs."""

MEMORY_POLL = 1.0
"""Seconds between two looks at their memory."""

GIGABYTE = 1e9
STATUS_UNSTARTED = 2
"""Exit status that counts for a job that could not be started."""

THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class Job(NamedTuple):
    """A program to run.

    Attributes:
      name: for the reader.
      command: module and arguments.
      log: file to which its output is appended; its lock lies beside it.
    """

    name: str
    command: Sequence[str]
    log: Path


class Budget(NamedTuple):
    """What jobs may use: cores of each job that runs at a time, and bytes of memory of one job."""

    slots: Sequence[Sequence[int]]
    memory: float


class Event(NamedTuple):
    """A change of a job.

    Attributes:
      job: that has changed.
      status: None for a start, else the exit status, negative for a signal; a job that could not be
        started has an end only.
      seconds: that it took.
      memory: the most that was seen of it, in bytes; 0 where that cannot be measured.
      reason: why it was stopped, or could not be started, if that is so.
    """

    job: Job
    status: int | None
    seconds: float = 0.0
    memory: float = 0.0
    reason: str = ""


@dataclass
class _Running:
    job: Job
    slot: int
    process: subprocess.Popen[bytes]
    began: float = field(default_factory=time.monotonic)
    memory: float = 0.0
    reason: str = ""

    def has_ended(self) -> bool:
        """Whether the job has ended; its number stays its own until `kill`."""
        if self.process.returncode is not None:
            return True
        options = os.WEXITED | os.WNOHANG | os.WNOWAIT
        return os.waitid(os.P_PID, self.process.pid, options) is not None

    def terminate(self) -> None:
        """Asks the job to save itself and end."""
        if self.process.returncode is None:
            self.process.terminate()

    def kill(self) -> None:
        """Ends the job and what it has started; what it has written survives that."""
        if self.process.returncode is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


def make_budget(jobs: int | None, cores_per_job: int, memory_gb_per_job: float) -> Budget:
    """Divides this machine among jobs.

    Args:
      jobs: at a time; None for as many as fit.
      cores_per_job: which no other job gets.
      memory_gb_per_job: resident memory, with which a job is stopped if it takes more.

    Raises:
      UserError: the machine has not that much.
    """
    cores, memory = available_cores(), available_memory()
    by_cores = len(cores) // cores_per_job
    by_memory = memory / GIGABYTE / memory_gb_per_job  # infinite where the system does not say
    wanted = max(1, int(min(by_cores, by_memory))) if jobs is None else jobs
    if wanted > by_cores:
        raise UserError(
            f"{wanted} jobs with --cores_per_job={cores_per_job} need {wanted * cores_per_job} "
            f"cores, and there are {len(cores)}; use --jobs={by_cores} or fewer cores"
            if by_cores
            else f"--cores_per_job={cores_per_job}: there are {len(cores)} cores; use fewer"
        )
    if wanted > by_memory:
        raise UserError(
            f"{wanted} jobs with --memory_gb_per_job={memory_gb_per_job:g} need "
            f"{wanted * memory_gb_per_job:g} GB, and {memory / GIGABYTE:.1f} GB are free; use "
            "fewer --jobs or less memory"
        )
    slots = [cores[i * cores_per_job : (i + 1) * cores_per_job] for i in range(wanted)]
    return Budget(slots, memory_gb_per_job * GIGABYTE)


def available_cores() -> list[int]:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def available_memory() -> float:
    """Bytes that are free, or infinity where the system does not say."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return float("inf")
    free = next(line for line in lines if line.startswith("MemAvailable:"))
    limits = [1024.0 * int(free.split()[1])]
    group = Path("/sys/fs/cgroup")
    try:
        most, used = ((group / f"memory.{n}").read_text().strip() for n in ("max", "current"))
        if most != "max":
            limits.append(float(most) - float(used))
    except OSError:
        pass  # not in a group, or in one of the older kind
    return min(limits)


def session_memory(session: int) -> float:
    """Bytes of resident memory of a session's processes; 0 where that cannot be measured."""
    pages = 0
    # no `glob`: it looks whether each file is there, and fails where a process has just ended
    processes = Path("/proc").iterdir() if Path("/proc").is_dir() else ()
    for process in processes:
        if not process.name.isdecimal():
            continue
        try:
            # the second field, the program's name in brackets, may hold anything
            text = (process / "stat").read_text(errors="replace")
        except OSError:
            continue
        fields = text.rpartition(")")[2].split()
        if int(fields[3]) == session:
            pages += int(fields[21])
    return float(pages * os.sysconf("SC_PAGE_SIZE"))


def run_jobs(
    jobs: Sequence[Job], budget: Budget, *, should_stop: Callable[[], bool] = lambda: False
) -> Generator[Event]:
    """Runs jobs to their ends, each on cores of its own, as many at a time as there are slots.

    However this ends, its jobs end first: by itself, by an exception in the caller, or, on Linux,
    by a kill that nothing can catch. Once it should stop it starts no more, asks those that run to
    end, by SIGTERM, and waits for them. A job that cannot be started keeps none of the others.

    Yields:
      Two events for each job, a start and an end; or an end alone.
    """
    waiting, free = list(jobs), list(range(len(budget.slots)))
    running: list[_Running] = []
    is_stopping = False
    looked = time.monotonic()
    try:
        while waiting or running:
            if should_stop() and not is_stopping:
                is_stopping = True
                waiting.clear()
                for one in running:
                    one.terminate()
            while waiting and free:
                job = waiting.pop(0)
                try:
                    one = _start(job, budget, free[0])
                except UserError as error:
                    yield Event(job, STATUS_UNSTARTED, reason=str(error))
                    continue
                running.append(one)
                free.remove(one.slot)
                yield Event(one.job, None)
            if (now := time.monotonic()) - looked > MEMORY_POLL:
                looked = now
                _watch_memory(running, budget.memory)
            for one in [one for one in running if one.has_ended()]:
                one.kill()  # whatever it has left behind
                running.remove(one)
                free.append(one.slot)
                seconds = time.monotonic() - one.began
                yield Event(one.job, one.process.returncode, seconds, one.memory, one.reason)
            time.sleep(POLL)
    finally:
        for one in running:
            one.kill()


def _start(job: Job, budget: Budget, slot: int) -> _Running:
    """Starts a job.

    Raises:
      UserError: its log cannot be written, or the system has no room for a process.
    """
    cores = budget.slots[slot]
    can_pin = hasattr(os, "sched_setaffinity")
    pins = ",".join(map(str, cores)) if can_pin else ""
    environment = os.environ | dict.fromkeys(THREAD_VARIABLES, str(len(cores)))
    arguments = [str(os.getpid()), str(job.log.with_suffix(".lock")), pins, *job.command]
    with contextlib.ExitStack() as stack:
        try:
            job.log.parent.mkdir(parents=True, exist_ok=True)
            log = stack.enter_context(job.log.open("ab", buffering=0))
            write_to_log(log, f"$ python -m {' '.join(job.command)}\n")
        except OSError as error:
            with contextlib.suppress(OSError):
                if job.log.stat().st_size == 0:
                    job.log.unlink()
            raise UserError(f"{job.log} could not be written: {files.reason(error)}") from error
        try:
            process = subprocess.Popen(
                [sys.executable, "-m", "behavior_priors", "launch.child", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,
            )
        except OSError as error:
            raise UserError(f"no process could be made: {files.reason(error)}") from error
    return _Running(job, slot, process)


def write_to_log(log: io.FileIO, line: str) -> None:
    """Adds what the sweep has to say to what a job has said, if there is room for all of it.

    Raises:
      OSError: there is none.
    """
    files.append(log, line.encode(errors="backslashreplace"))


def _watch_memory(running: Sequence[_Running], limit: float) -> None:
    for one in running:
        one.memory = max(one.memory, session_memory(one.process.pid))
        if one.memory > limit:
            taken = f"{one.memory / GIGABYTE:.2g} GB"
            one.reason = f"it took {taken} of --memory_gb_per_job={limit / GIGABYTE:g}"
            one.kill()
