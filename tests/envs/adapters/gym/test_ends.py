"""How programs end that have gymnasium's environments: closed, and not with a crash."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[4]

BEGIN = """
import warnings
warnings.simplefilter("ignore")
import jax, jax.numpy as jnp
from behavior_priors.envs.registry import make_env
RUDE = "gym/tests.envs.adapters.gym.rude:"
def make(member):
    env = make_env(f"{RUDE}{member}&measures_success=false")
    return env, jax.block_until_ready(env.reset(jax.random.key(0)))
"""


def run_python(program: str) -> tuple[int, str]:
    """The exit status of a program and what it writes to its stderr."""
    done = subprocess.run(
        [sys.executable, "-c", BEGIN + program],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    return done.returncode, done.stderr


@pytest.mark.parametrize(
    ("end", "status"),
    [("", 0), ("raise SystemExit(3)", 3), ("atexit._run_exitfuncs(); os._exit(130)", 130)],
)
def test_a_program_ends_though_its_environments_have_threads_and_processes(end: str, status: int):
    """Also the way of programs that were told to end at once, see `programs`."""
    code, said = run_python(
        'import atexit, os\nkept = [make(f"{x}-v0?noise=none") for x in ("Rude",)]\n'
        'kept += [make(f"{x}-v0?disable_env_checker=true") for x in ("Child", "Waiting")]\n' + end
    )
    assert (code, said) == (status, "")


def test_an_environment_that_cannot_be_closed_is_a_line_and_the_program_ends():
    code, said = run_python(
        "from behavior_priors.envs.adapters.gym import home\n"
        "home.CLOSE_SECONDS = 0.5\n"
        'kept = [make(f"Uncloseable-v0?hangs={x}") for x in ("false", "true")]\n'
    )
    assert code == 0
    lines = sorted(line.partition("Uncloseable-v0: ")[2] for line in said.splitlines())
    assert len(lines) == 2
    assert lines[0].startswith("close raised SystemExit: no window (at ")
    assert lines[1] == "close takes more than 0.5 s and is left at that"


def test_a_text_that_is_none_does_not_crash_the_device():
    code, said = run_python(
        "from behavior_priors.system.faults import fault_behind\n"
        'env, state = make("Raises-v0?what=surrogate&after=1")\n'
        "step = jax.jit(env.step)\n"
        "try:\n"
        "    for _ in range(3): state = jax.block_until_ready(step(state, jnp.zeros(1)))\n"
        "except Exception as error:\n"
        "    raise SystemExit(ascii(str(fault_behind(error))))\n"
    )
    assert code == 1
    assert r"step raised OSError: cannot read caf\\udce9.npy (at " in said
