"""MuJoCo Playground's environments keep this library's promises; most of it without Playground."""

from __future__ import annotations

import functools
import subprocess
import sys
from collections.abc import Iterator
from types import ModuleType, SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import struct

from behavior_priors.envs.base import reset_many
from behavior_priors.envs.registry import make_env
from behavior_priors.errors import UserError
from behavior_priors.types import ActionSpec
from tests.envs.adapters.counting import run


@struct.dataclass
class Data:
    qpos: jax.Array
    qvel: jax.Array


@struct.dataclass
class PlaygroundState:
    """What `mujoco_playground.State` has."""

    data: Data
    obs: Any
    reward: jax.Array
    done: jax.Array
    metrics: dict
    info: dict


class Stepper:
    """Draws a position at a reset, adds up to 1 to the velocity at a step, and pays the velocity.

    As in Playground, `done` is 1 for two reasons: the velocity is 3, or the physics is NaN, which
    it is for actions below -0.5.
    """

    action_size = 1

    def reset(self, rng: jax.Array) -> PlaygroundState:
        rng, key = jax.random.split(rng)
        data = Data(qpos=jax.random.uniform(key, (1,)), qvel=jnp.zeros(1))
        zero = jnp.zeros(())
        return PlaygroundState(
            data, self.observe(data), zero, zero, {"reward/speed": zero}, {"rng": rng, "step": 0}
        )

    def step(self, state: PlaygroundState, action: jax.Array) -> PlaygroundState:
        state.info["rng"], _ = jax.random.split(state.info["rng"])
        state.info["step"] += 1
        velocity = state.data.qvel + jnp.where(action < -0.5, jnp.nan, action)
        state.metrics["reward/speed"] = velocity[0]
        data = Data(state.data.qpos, velocity)
        done = (velocity[0] >= 3.0) | jnp.isnan(velocity).any()
        return state.replace(
            data=data, obs=self.observe(data), reward=velocity[0], done=done.astype(float)
        )

    def observe(self, data: Data) -> dict[str, jax.Array]:
        return {"state": data.qvel, "privileged_state": jnp.concatenate([data.qpos, data.qvel])}


class Config(dict):
    """Enough of a `ConfigDict`: keys are attributes too."""

    __getattr__ = dict.__getitem__
    __setattr__ = dict.__setitem__


CONFIGS = {
    "Steps": {"episode_length": 6, "impl": "warp"},
    "Plain": {"episode_length": 150},
    "Robot": {"episode_length": 150, "impl": "warp"},
}


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict]]:
    """Stands in for Playground; what has been loaded, and with which configs."""
    calls: list[tuple[str, dict]] = []

    def load(name: str, config: Config) -> Stepper:
        if name == "Robot":
            raise subprocess.CalledProcessError(128, ["git", "clone"])
        calls.append((name, dict(config)))
        return Stepper()

    module: Any = ModuleType("mujoco_playground")
    module.registry = SimpleNamespace(
        ALL_ENVS=tuple(CONFIGS), get_default_config=lambda name: Config(CONFIGS[name]), load=load
    )
    monkeypatch.setitem(sys.modules, "mujoco_playground", module)
    return calls


def test_it_is_built_for_any_device_unless_warp_is_asked_for(loaded: list):
    env = make_env("playground/Steps")
    assert env.name == "playground/Steps"
    assert env.info["engine"] == "playground mjx"
    assert env.episode_length == 6
    assert env.action_spec == ActionSpec(1, 1.0)
    assert not env.measures_success
    assert {key: spec.shape for key, spec in env.observation_spec.items()} == {
        "state": (1,),
        "privileged_state": (2,),
    }
    assert make_env("playground/Steps", engine="warp").info["engine"] == "playground warp"
    assert make_env("playground/Plain", engine="mjx", episode_length=7).episode_length == 7
    assert loaded == [
        ("Steps", {"episode_length": 6, "impl": "jax"}),
        ("Steps", {"episode_length": 6, "impl": "warp"}),
        ("Plain", {"episode_length": 150}),
    ]


def test_every_step_of_several_episodes_is_what_it_should_be(loaded: list):
    env = make_env("playground/Steps")
    # Two steps and a NaN; three whole ones; six halves, to the limit of six where 3 is reached;
    # six quarters, to the limit alone.
    actions = [1.0, 1.0, -1.0] + [1.0] * 3 + [0.5] * 6 + [0.25] * 6 + [1.0]
    first, made = run(env, 2, jnp.array(actions)[:, None, None] * jnp.ones((1, 2, 1)))
    velocity = [1, 2, 2] + [1, 2, 3] + [0.5, 1, 1.5, 2, 2.5, 3] + [0.25, 0.5, 0.75, 1, 1.25, 1.5, 1]
    ends = ["", "", "diverged", "", "", "terminated"] + [""] * 5 + ["terminated"]
    ends += [""] * 5 + ["truncated", ""]
    np.testing.assert_array_equal(made.next_observation["state"][:, 0, 0], velocity)
    reward = np.where(np.array(ends) == "diverged", 0.0, velocity)
    np.testing.assert_array_equal(made.reward[:, 0], reward)
    np.testing.assert_array_equal(made.valid[:, 0], [end != "diverged" for end in ends])
    np.testing.assert_array_equal(made.terminated[:, 0], [end == "terminated" for end in ends])
    truncated = [end in ("diverged", "truncated") for end in ends]
    np.testing.assert_array_equal(made.truncated[:, 0], truncated)

    position = np.asarray(made.observation["privileged_state"])[:, 0, 0]
    led_to = np.asarray(made.next_observation["privileged_state"])[:, 0, 0]
    np.testing.assert_array_equal(led_to, position)
    starts = np.cumsum([False] + [end != "" for end in ends[:-1]])
    assert len(set(position)) == starts[-1] + 1 == 5
    assert position[0] == first.observation["privileged_state"][0, 0]


@pytest.mark.parametrize(
    ("name", "engine", "message"),
    [
        ("Hops", None, "--env=playground/Hops is unknown; playground/ has: Steps, Plain, Robot"),
        ("Steps", "c", "--engine=c is not available here; use one of: auto, mjx, warp"),
        ("Plain", "warp", "--engine=warp is no choice that playground/Plain has; leave it out"),
        (
            "Robot",
            None,
            "playground/Robot needs files that Playground downloads with git at first use, and "
            "that failed: Command '['git', 'clone']' returned non-zero exit status 128.",
        ),
    ],
)
def test_what_cannot_be_is_said_in_one_line(loaded: list, name: str, engine: Any, message: str):
    with pytest.raises(UserError) as caught:
        make_env(f"playground/{name}", engine=engine)
    assert str(caught.value) == message


def test_without_playground_the_extra_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "mujoco_playground", None)
    with pytest.raises(UserError, match=r"^playground/ needs MuJoCo Playground: pip install 'beh"):
        make_env("playground/CartpoleBalance")


@pytest.fixture
def promotion_of_playground() -> Iterator[None]:
    with jax.numpy_dtype_promotion("standard"):
        yield


@pytest.mark.usefixtures("promotion_of_playground")
def test_playgrounds_own_steps():
    pytest.importorskip("mujoco_playground")
    from mujoco_playground import registry

    env = make_env("playground/CartpoleBalance")
    assert env.episode_length == 1000
    actions = jax.random.uniform(jax.random.key(1), (12, 4, 1), minval=-1.0, maxval=1.0)
    first, made = run(env, 4, actions)

    bare = registry.load("CartpoleBalance", config_overrides={"impl": "jax"})
    keys = jax.random.split(jax.random.key(0), 4)

    @jax.jit
    def theirs(actions: jax.Array) -> Any:
        def step(states: Any, action: jax.Array) -> Any:
            states = jax.vmap(bare.step)(states, action)
            return states, (states.obs, states.reward)

        reset_keys = jax.vmap(lambda key: jax.random.key_data(jax.random.split(key)[1]))(keys)
        return jax.lax.scan(step, jax.vmap(bare.reset)(reset_keys), actions)[1]

    observation, reward = theirs(actions)
    np.testing.assert_array_equal(made.next_observation["observation"], observation)
    np.testing.assert_array_equal(made.reward, reward)
    again = jax.jit(functools.partial(reset_many, env, count=4))(jax.random.key(0))
    jax.tree.map(np.testing.assert_array_equal, first.observation, again.observation)
