"""Whole programs as processes: a small but complete run, how to kill one, and what it left."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from behavior_priors.runs.checkpoint import Checkpointer
from behavior_priors.runs.kept import RESULTS_FILE
from tests.compiler import UNOPTIMIZED, cache_settings, fast_flags

ROOT = Path(__file__).parents[2]
DEADLINE = 300.0
"""Seconds after which a program counts as stuck."""

POLL = 0.002
"""Seconds between two looks at a file that a program is to write."""

EPISODES = 400
"""Two rounds of collecting, so that a kill can come between them."""

FIT_STEPS, FIT_EPOCH = 200, 20
STEPS, EPOCH, CHECKPOINT_EVERY = 2160, 240, 4
EVALUATION_EPISODES = 16

TINY = (
    f"--data_episodes={EPISODES}",
    "--flow.observation=ee_position,gripper,object_offset",
    "--flow.couplings=2",
    "--flow.encoder_widths=16",
    "--flow.conditioner_widths=16",
    "--flow.squash=true",
    f"--fit.steps={FIT_STEPS}",
    f"--fit.steps_per_epoch={FIT_EPOCH}",
    "--fit.batch_size=64",
    "--latent_bound=1.5",
    "--latent_target_entropy=-10",
    "--sac.policy_widths=16",
    "--sac.critic_widths=16",
    "--loop.num_envs=8",
    f"--loop.steps={STEPS}",
    f"--loop.epoch_steps={EPOCH}",
    f"--loop.warmup_steps={EPOCH}",
    "--loop.batch_size=64",
    "--run.eval_every=1",
    "--run.eval_episodes=32",
    f"--run.checkpoint_every={CHECKPOINT_EVERY}",
    "--report_episodes=16",
    f"--eval_episodes={EVALUATION_EPISODES}",
    "--nofigures",
    "--video_episodes=0",
)
"""Both methods, every stage, and nets that learn nothing in so short a time."""


def environment(*, writes_cache: bool = True) -> dict[str, str]:
    """Of a program whose time goes into compiling: code that is compiled fast rather than fast.

    It is what tests in the suite's own processes have, so that all share what they compile.

    Args:
      writes_cache: not for a process that may be killed while it writes a compiled program.
    """
    return {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": fast_flags(),
        **{name.upper(): str(x) for name, x in UNOPTIMIZED.items()},
        **{name.upper(): str(x) for name, x in cache_settings(writes=writes_cache).items()},
    }


class Result(NamedTuple):
    """How a program ended and what it said."""

    status: int
    stdout: str
    stderr: str
    seconds: float


class Program:
    """A program under way, `python -m MODULE ARGUMENTS...`, in a process group of its own.

    One that is to be killed starts fast where another has compiled the same before.
    """

    def __init__(
        self, module: str, arguments: Sequence[str], *, folder: Path, may_be_killed: bool = False
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._words = (module, *arguments)
        self._paths = [folder / f"{time.monotonic_ns()}.{name}" for name in ("out", "err")]
        self._began = time.perf_counter()
        with self._paths[0].open("wb") as out, self._paths[1].open("wb") as err:
            self._process = subprocess.Popen(
                [sys.executable, "-m", module, *arguments],
                cwd=folder,
                env=environment(writes_cache=not may_be_killed),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )

    def wait_until(self, condition: Callable[[], bool]) -> None:
        """Returns as soon as the condition holds, which must be before the program ends."""
        while not condition():
            assert self._process.poll() is None, f"ended too early: {self._result()}"
            self._check_time()
            time.sleep(POLL)

    def kill(self) -> None:
        """SIGKILL to the program and whatever it has started, which nothing can catch."""
        os.killpg(self._process.pid, signal.SIGKILL)
        assert self._process.wait() == -signal.SIGKILL, f"ended by itself: {self._result()}"

    def finish(self) -> Result:
        """Waits for the end."""
        while self._process.poll() is None:
            self._check_time()
            time.sleep(10 * POLL)
        return self._result()

    def succeed(self) -> Result:
        """Waits for the end, which must be a good one."""
        result = self.finish()
        assert result.status == 0, f"{' '.join(self._words)}: {result}"
        return result

    def _check_time(self) -> None:
        if time.perf_counter() - self._began > DEADLINE:
            self.kill()
            raise AssertionError(f"{' '.join(self._words)} is stuck: {self._result()}")

    def _result(self) -> Result:
        out, err = (path.read_text(encoding="utf-8", errors="replace") for path in self._paths)
        seconds = time.perf_counter() - self._began
        return Result(self._process.returncode, out, err, seconds)


def rows(stage: Path) -> list[dict[str, Any]]:
    """Whole rows of a stage's metrics so far; the last line may be under way."""
    path = stage / "metrics.jsonl"
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text().splitlines(True) if line.endswith("\n")]


def read_json(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))


def without_seconds(values: Mapping[str, Any]) -> dict[str, Any]:
    """What must repeat: all but the time that it took."""
    return {name: value for name, value in values.items() if "seconds" not in name}


def kept_results(run: Path) -> dict[str, Any]:
    """The results of a run's finished parts, and what they are of, without their seconds."""
    parts = without_seconds(read_json(run / RESULTS_FILE))
    return {
        part: {**kept, "results": without_seconds(kept["results"])} for part, kept in parts.items()
    }


def arrays(stage: Path) -> dict[str, tuple[str, bytes]]:
    """Every array of a stage's newest checkpoint: how it is described, and its bits."""
    checkpoints = Checkpointer(stage / "checkpoints")
    newest = stage / "checkpoints" / f"{checkpoints.steps()[-1]:010d}"
    leaves: dict[str, str] = read_json(newest / "metadata.json")["leaves"]
    restored = checkpoints.restore_latest({name: _shape(text) for name, text in leaves.items()})
    assert restored is not None
    assert restored.step == checkpoints.steps()[-1]
    return {name: (leaves[name], _bits(leaf)) for name, leaf in restored.state.items()}


def _shape(text: str) -> jax.ShapeDtypeStruct:
    """`float32[3,4]` as a shape and a dtype; `key<fry>[]` is one of typed keys."""
    dtype, _, sizes = text.removesuffix("]").partition("[")
    shape = tuple(int(size) for size in sizes.split(",") if size)
    is_key = dtype.startswith("key<")
    return jax.ShapeDtypeStruct(
        shape,
        jax.eval_shape(lambda: jax.random.key(0)).dtype if is_key else np.dtype(dtype),
    )


def _bits(leaf: jax.Array) -> bytes:
    if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        leaf = jax.random.key_data(leaf)
    return np.asarray(leaf).tobytes()


def files(folder: Path) -> dict[str, bytes]:
    """Everything below a folder, by path."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
