"""gymnasium's environments that share, exit, go on, or are to be closed; and in which thread."""

from __future__ import annotations

import gc
import re
import sys
import threading
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from behavior_priors.envs.adapters.gym import instance, look, reports
from behavior_priors.envs.base import reset_many, step_and_reset
from behavior_priors.envs.registry import make_env
from behavior_priors.envs.rollout import rollout
from behavior_priors.errors import UserError
from behavior_priors.system.faults import blaming, describe, fault_behind
from behavior_priors.types import Env
from tests.envs.adapters.gym.counting import run
from tests.envs.adapters.gym.rude import LIMIT, RUDE, MuteError, Rude


@pytest.fixture(autouse=True)
def forget_instances() -> None:
    Rude.made.clear()


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Lines that are said, as often as they are."""
    lines: list[str] = []
    for module in (instance, look, reports):
        monkeypatch.setattr(module, "say", lines.append)
    return lines


def make_rude(member: str, **options: Any) -> Env:
    return make_env(f"{RUDE}{member}", **options)


def refused(name: str, **options: Any) -> str:
    with pytest.raises(UserError) as caught:
        make_env(name, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def three_steps(env: Env) -> Any:
    """Transitions `[3, 2]` and states; the actions are 0.25 and 0.5."""
    actions = np.broadcast_to(np.float32([[0.25], [0.5]]), (3, 2, 1))
    _, transition, stepped, after = run(env, actions)
    return transition, stepped, after


@pytest.mark.parametrize(("member", "name"), [("Shared", "observation"), ("SharedDict", "both")])
def test_instances_that_share_an_array_observe_their_own(member: str, name: str):
    transition, _, _ = three_steps(make_rude(f"{member}-v0"))
    np.testing.assert_array_equal(
        transition.next_observation[name],
        [[[1.0, 0.25], [1.0, 0.5]], [[2.0, 0.25], [2.0, 0.5]], [[3.0, 0.25], [3.0, 0.5]]],
    )


@pytest.mark.parametrize("key", ["final_observation", "final_obs", "terminal_observation"])
def test_a_step_that_begins_the_next_episode_ends_with_the_last_one(key: str):
    env = make_rude("Autoreset-v0", key=key)
    assert env.measures_success
    transition, stepped, after = three_steps(env)
    np.testing.assert_array_equal(transition.terminated[:, 0], [False, False, True])
    seen = transition.next_observation["observation"]
    np.testing.assert_array_equal(seen[2], [[3.0, 0.25], [3.0, 0.5]])
    np.testing.assert_array_equal(after.observation["observation"][2], np.zeros((2, 2)))
    np.testing.assert_array_equal(stepped.success[:, 0], [False, False, True])


def test_a_time_limit_that_is_not_kept_is_kept(said: list[str]):
    env = make_env(f"{RUDE}GoesOn-v0?measures_success=false")
    go = jax.jit(lambda key: rollout(env, lambda state, key: jnp.zeros(1), key, 3))
    for seed in range(4):
        episodes = jax.device_get(go(jax.random.key(seed)))
        np.testing.assert_array_equal(episodes.length, [5, 5, 5])
        assert episodes.final.truncated.all()
        assert not episodes.final.terminated.any()
    assert len(Rude.made) == 3
    assert set(said) == {
        f"{RUDE}GoesOn-v0: its episodes go on after 5 steps, the time limit that it names; they "
        "are truncated there"
    }
    _, transition, _, after = run(env, np.zeros((7, 2, 1)))
    np.testing.assert_array_equal(np.flatnonzero(transition.truncated[:, 0]), [4])
    np.testing.assert_array_equal(after.time[:, 0], [1, 2, 3, 4, 0, 1, 2])


def test_whole_episodes_are_looked_at_though_they_go_on():
    env = make_env(f"{RUDE}GoesOn-v0")
    assert env.info["success_source"] == "info reports none in 3 whole episodes"


def test_success_that_is_measured_and_never_reported_is_said(said: list[str]):
    env = make_rude("Rude-v0", measures_success=True)
    run(env, np.zeros((LIMIT, 2, 1)))
    assert said == []
    run(env, np.zeros((2 * LIMIT, 2, 1)))
    assert said == [
        f"{RUDE}Rude-v0: measures_success=true, and 3 whole episodes have reported none; looked "
        "for is info['success'] or info['is_success'], and one without has failed"
    ]
    said.clear()
    run(make_rude("Autoreset-v0", measures_success=True), np.zeros((3 * LIMIT, 2, 1)))
    assert said == []


def test_none_is_given_on_and_not_left_out():
    make_env(f"{RUDE}Rude-v0?noise=none")
    make_env(f"{RUDE}Rude-v0?noise=1.5")
    make_env(f"{RUDE}Rude-v0", noise=None)  # a flag that was not given
    assert [made.noise for made in Rude.made] == [None, 1.5, 0.5]
    assert "unexpected keyword argument 'typo'" in refused(f"{RUDE}Rude-v0?typo=none")


def test_observations_to_leave_out_are_there():
    name = f"{RUDE}SharedDict-v0"
    assert refused(f"{name}?leave_out=typo") == (
        f"{name}: leave_out=typo is no observation that it has; there are: both"
    )
    assert refused(f"{name}?leave_out=both") == f"{name}: leave_out=both leaves nothing to observe"
    assert "leave_out=True should be a name" in refused(f"{name}?leave_out=true")
    assert "there are: none with names" in refused(f"{RUDE}Rude-v0?leave_out=observation")
    assert set(make_env(f"{name}?leave_out=none").observation_spec) == {"both"}


@pytest.mark.parametrize(
    ("bound", "dtype"), [(1e10, "float32"), (3.4e38, "float32"), (1.79e308, "float64")]
)
def test_bounds_that_bound_nothing_are_refused(bound: float, dtype: str):
    line = refused(f"{RUDE}Bounds-v0", bound=bound, dtype=dtype)
    assert re.search(r"every bound must be finite, and at most 1e\+09: .*TransformAction", line)
    assert make_rude("Bounds-v0", bound=1e6).info["action_high"] == [1e6]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_an_action_without_axes_is_an_array(dtype: str):
    env = make_rude("Bounds-v0", bound=2.0, shape=[], dtype=dtype)
    env.step(env.reset(jax.random.key(0)), jnp.float32([0.25]))
    for action in Rude.made[0].actions:
        assert type(action) is np.ndarray
        assert (action.shape, action.dtype) == ((), np.dtype(dtype))
    assert Rude.made[0].actions[-1] == 0.5


@pytest.mark.parametrize("member", ["Prices", "Unloaded", "Strict"])
def test_attributes_called_like_those_of_mujoco_are_left_alone(member: str):
    transition, _, _ = three_steps(make_rude(f"{member}-v0"))
    np.testing.assert_array_equal(transition.reward, np.ones((3, 2)))


@pytest.mark.parametrize("steps", [10_000_001, 10**9, sys.maxsize])
def test_a_time_limit_that_is_none_is_refused(steps: int):
    name = f"{RUDE}Steps{steps}-v0"
    assert refused(name) == (
        f"{name} cannot be made: its own max_episode_steps={steps} should be at most 10000000; "
        f"{name}?episode_length=200 is another time limit"
    )
    assert make_env(f"{name}?episode_length=7").episode_length == 7


@pytest.mark.parametrize("member", ["Rude", "Database", "Looping"])
def test_everything_is_done_in_one_thread(member: str):
    env = make_rude(f"{member}-v0")
    three_steps(env)
    rollout(env, lambda state, key: jnp.zeros(1), jax.random.key(0), 2)
    assert len(Rude.made) == 4
    (home,) = set.union(*(made.threads for made in Rude.made))
    assert home is not threading.main_thread()


@pytest.mark.parametrize(
    ("what", "told"),
    [
        ("exit", "step raised SystemExit: window closed (at "),
        ("interrupt", "step raised KeyboardInterrupt (at "),
        ("nul", r"step raised OSError: bad a\x00b (at "),
        ("mute", "step raised MuteError (at "),
    ],
)
def test_whatever_a_step_raises_is_a_line(what: str, told: str):
    assert refused(f"{RUDE}Raises-v0", what=what, after=0).startswith(f"{RUDE}Raises-v0: {told}")
    env = make_rude("Raises-v0", what=what)
    step = jax.vmap(lambda state: step_and_reset(env, state, jnp.zeros(1))[0])
    states = reset_many(env, jax.random.key(0), 1)
    with pytest.raises(jax.errors.JaxRuntimeError) as caught:
        jax.block_until_ready(jax.lax.fori_loop(0, 30, lambda _, x: step(x), states))
    line = str(fault_behind(caught.value))
    assert line.startswith(f"{RUDE}Raises-v0: {told}")
    assert line.isprintable()


def test_what_was_raised_is_told_in_letters_that_can_be_written():
    assert describe(OSError("cannot read caf\udce9\n\tand \x1b[2Jmore")) == (
        r"OSError: cannot read caf\udce9 and \x1b[2Jmore"
    )
    assert describe(MuteError()) == "MuteError"
    assert describe(ValueError("x" * 301)) == f"ValueError: {'x' * 300}..."


def test_ctrl_c_stays_what_it_is():
    with pytest.raises(KeyboardInterrupt), blaming("gym/x", "step"):
        raise KeyboardInterrupt
    with pytest.raises(UserError, match="gym/x: step raised SystemExit: 3"):  # noqa: SIM117
        with blaming("gym/x", "step"):
            sys.exit(3)


@pytest.mark.parametrize("name", ["gym/{}:Some-v0", "{}:some"])
def test_modules_that_end_the_program_are_named(
    name: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    module = "tests.envs.adapters.gym.needs_licence"
    assert re.fullmatch(
        rf"{module}: importing it raised SystemExit: there is no licence \(at .*\.py:5\)",
        refused(name.format(module)),
    )
    module = "tests.envs.adapters.gym.reads_flags"
    monkeypatch.setattr(sys, "argv", ["program", "--env=x"])
    assert re.fullmatch(
        rf"{module}: importing it raised SystemExit: unrecognized arguments: --env=x \(the command "
        r"line is this program's\) \(at .*\.py:7\); what a module does as a program stands below "
        "if __name__ == '__main__'",
        refused(name.format(module)),
    )
    assert capfd.readouterr().err == ""


def test_slow_random_steps_are_said_and_all_taken(said: list[str], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(look, "WHOLE_SECONDS", 0.0)
    make_env("gym/tests.envs.adapters.gym.counting:Counting-v0?measures_success=false")
    (line,) = said
    assert re.fullmatch(
        r"gym/tests.*Counting-v0: its observations have no bounds that say what is typical, and "
        r"1000 random steps that show it take about \d+ s",
        line,
    )


def test_what_is_forgotten_or_refused_is_closed():
    env = make_rude("Rude-v0")
    three_steps(env)
    assert not any(made.closed.is_set() for made in Rude.made)
    del env
    jax.clear_caches()
    gc.collect()
    assert all(made.closed.wait(20.0) for made in Rude.made)
    assert [len(made.threads) for made in Rude.made] == [1, 1]
    assert "no time limit" in refused(f"{RUDE}Unlimited-v0")
    assert len(Rude.made) == 3
    assert Rude.made[2].closed.wait(20.0)
