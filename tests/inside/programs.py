"""Programs in this process: as `python -m` runs them, but for what was imported and compiled."""

from __future__ import annotations

import contextlib
import io
import runpy
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import jax
from absl import app
from absl import flags as absl_flags

from behavior_priors.envs import registry
from behavior_priors.methods import demonstrations, tasks
from behavior_priors.programs import entry, mishaps, termination
from behavior_priors.runs import workdir
from behavior_priors.types import Env

PRECISION = "jax_default_matmul_precision"


class Ended(NamedTuple):
    """How a program ended.

    Attributes:
      status: its exit status.
      stderr: what it said there, the traceback of a defect included.
      stdout: what it said there.
    """

    status: int
    stderr: str
    stdout: str = ""


def run_program(module: str, arguments: Sequence[str], folder: Path) -> Ended:
    """Runs a program to its end, in a folder; signals and settings of this process stay its own."""
    folder.mkdir(parents=True, exist_ok=True)
    app.define_help_flags()
    before = set(absl_flags.FLAGS)
    settings = {name: getattr(jax.config, name) for name in (*mishaps.SETTINGS, PRECISION)}
    status, out, err = 0, io.StringIO(), io.StringIO()
    sys.modules.pop(module, None)
    try:
        with (
            contextlib.chdir(folder),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
            mock.patch.object(sys, "argv", [module, *arguments]),
            mock.patch.object(termination, "install"),
            # which would be held as long as this process lives
            mock.patch.object(workdir, "_open", []),
            # Ctrl-C ends this process as it ends any other
            mock.patch.object(entry, "_exit_at_once", side_effect=KeyboardInterrupt),
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
        for name, value in settings.items():
            if getattr(jax.config, name) != value:
                jax.config.update(name, value)
    return Ended(status, err.getvalue(), out.getvalue())


def succeed(module: str, arguments: Sequence[str], folder: Path) -> Ended:
    """The same of a program that must come to a good end."""
    ended = run_program(module, arguments, folder)
    assert ended.status == 0, f"{module} {' '.join(arguments)}: {ended}"
    return ended


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
