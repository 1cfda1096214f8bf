"""Programs in this process: as `python -m` runs them, but for what was imported and compiled.

A cell's commands differ in what they learn, but not in the environment: it is made once. And the
same command twice makes the same functions twice, which are compiled once.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import io
import runpy
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import jax
import numpy as np
from absl import app
from absl import flags as absl_flags

from behavior_priors.envs import registry
from behavior_priors.methods import adapting, agent, demonstrations, learning, models, others, tasks
from behavior_priors.runs import run
from behavior_priors.training import fit
from behavior_priors.types import Env


class Ended(NamedTuple):
    """How a program ended.

    Attributes:
      status: its exit status.
      stderr: what it said there, the traceback of a defect included.
    """

    status: int
    stderr: str


def run_program(module: str, arguments: Sequence[str], folder: Path) -> Ended:
    """Runs a program to its end, in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    app.define_help_flags()
    before = set(absl_flags.FLAGS)
    status, out, err = 0, io.StringIO(), io.StringIO()
    sys.modules.pop(module, None)
    try:
        with (
            contextlib.chdir(folder),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
            mock.patch.object(sys, "argv", [module, *arguments]),
        ):
            runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except Exception:
        status = 1
        err.write(traceback.format_exc())
    finally:
        for name in set(absl_flags.FLAGS) - before:
            delattr(absl_flags.FLAGS, name)
        absl_flags.FLAGS.unparse_flags()
    return Ended(status, err.getvalue())


class Memory:
    """What pure functions have returned, by their arguments: the same objects again.

    Arrays are told apart by their bits, functions by their identity, everything else by its value;
    where a run lies changes nothing.
    """

    def __init__(self) -> None:
        self._known: dict[Any, Any] = {}
        self._kept: list[Any] = []
        """Arguments, so that no other object gets the identity of one."""

    def of(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function with a memory."""

        def remembering(*args: Any, **kwargs: Any) -> Any:
            key = (function, _frozen((args, kwargs)))
            if key not in self._known:
                self._known[key] = function(*args, **kwargs)
                self._kept.append((args, kwargs))
            return self._known[key]

        return remembering


def _frozen(x: Any) -> Any:
    """What two equal arguments have in common, and no others."""
    if isinstance(x, jax.Array | np.ndarray):
        if jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key):
            x = jax.random.key_data(x)
        bits = hashlib.sha256(np.asarray(x).tobytes()).hexdigest()
        return (str(x.dtype), x.shape, bits)
    if isinstance(x, Mapping):
        return tuple((name, _frozen(value)) for name, value in sorted(x.items()))
    if isinstance(x, tuple | list):
        return (type(x), *map(_frozen, x))
    if dataclasses.is_dataclass(x) and not isinstance(x, type):
        names = [field.name for field in dataclasses.fields(x) if field.name != "workdir"]
        # the class of an experiment's flags is made anew for each
        return (type(x).__name__, *((name, _frozen(getattr(x, name))) for name in names))
    return x if isinstance(x, str | int | float | bool | None | Path) else id(x)


PURE = (
    (models, "make_stage"),
    (others, "make_stage"),
    (fit, "make_fit"),
    (run, "make_fit"),
    (agent, "build"),
    (learning, "make_loop_of"),
    (learning, "make_evaluate"),
    (learning, "make_meta_evaluate"),
    (adapting, "make_adapt"),
)
"""Functions that return what is compiled, where they are called from."""


@contextlib.contextmanager
def remembered() -> Iterator[None]:
    """Inside, a command that was run before compiles nothing.

    What it is given is compared by bits: where parameters that it restores are others, so is what
    it makes of them.
    """
    memory = Memory()
    with contextlib.ExitStack() as stack:
        for module, name in PURE:
            stack.enter_context(mock.patch.object(module, name, memory.of(getattr(module, name))))
        yield


@contextlib.contextmanager
def one_environment() -> Iterator[Callable[[], None]]:
    """Inside, an environment is made once, and its functions traced once.

    Yields:
      A function that forgets them: environments on the host are another process's after that.
    """
    known: dict[Any, Env] = {}
    make_env = registry.make_env

    def make(name: str, **options: Any) -> Env:
        key = (name, *sorted((n, x) for n, x in options.items() if n != "flag"))
        if key not in known:
            env = make_env(name, **options)
            if env.step_then_reset is None:
                env = env._replace(reset=jax.jit(env.reset), step=jax.jit(env.step))
            known[key] = env
        return known[key]

    with contextlib.ExitStack() as stack:
        for module in (registry, tasks, demonstrations):
            stack.enter_context(mock.patch.object(module, "make_env", make))
        yield known.clear
