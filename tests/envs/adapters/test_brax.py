"""brax's environments keep this library's promises about how episodes end."""

from __future__ import annotations

import functools
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from behavior_priors.envs import probes
from behavior_priors.envs.adapters import brax
from behavior_priors.envs.adapters.brax import brax_members, make_brax, wrap_brax
from behavior_priors.envs.adapters.foreign import quiet
from behavior_priors.envs.base import reset_many
from behavior_priors.envs.registry import make_env
from behavior_priors.errors import UserError
from behavior_priors.evaluation.evaluate import make_evaluate
from behavior_priors.learners.sac import SACConfig, make_sac
from behavior_priors.training.loop import LoopConfig, make_loop
from behavior_priors.types import ActionSpec, Env, State
from tests.envs.adapters.counting import Counting, run
from tests.learners.test_sac_probes import DISCOUNT, learn, values

with quiet():
    from brax import envs, fluid

MEMBERS = (
    *("ant", "fast", "halfcheetah", "hopper", "humanoid", "humanoidstandup"),
    *("inverted_double_pendulum", "inverted_pendulum", "pusher", "reacher", "swimmer", "walker2d"),
)
SIZES = {"fast": (2, 1), "humanoid": (244, 17), "pusher": (23, 7), "swimmer": (8, 2)}


@pytest.fixture(scope="module", autouse=True)
def promotion_of_brax(strict_arrays: None) -> Iterator[None]:
    """brax multiplies integers by floating numbers."""
    with jax.numpy_dtype_promotion("standard"):
        yield


def counting(episode_length: int = 4, resets: int = 0, **options: object) -> Env:
    env = Counting(**options)
    return wrap_brax(env, "brax/counting", episode_length=episode_length, resets=resets)


# Step by step: the count acted on, the count led to, and how the step ends.
LIMIT = [(0, 1, ""), (1, 2, ""), (2, 3, ""), (3, 4, "truncated")]
END = [(0, 1, ""), (1, 2, ""), (2, 3, "terminated")]
BOTH = [(0, 1, ""), (1, 2, ""), (2, 3, ""), (3, 4, "terminated")]


@pytest.mark.parametrize(("ends_at", "episode"), [(jnp.inf, LIMIT), (3, END), (4, BOTH)])
def test_every_step_of_several_episodes_is_what_it_should_be(ends_at: float, episode: list):
    _, made = run(counting(ends_at=ends_at), 3, jnp.zeros((14, 3, 1)))
    expected = [episode[i % len(episode)] for i in range(14)]
    for column in range(3):
        start, count = np.moveaxis(np.asarray(made.observation["observation"])[:, column], -1, 0)
        next_start, led_to = np.moveaxis(
            np.asarray(made.next_observation["observation"])[:, column], -1, 0
        )
        np.testing.assert_array_equal(count, [before for before, _, _ in expected])
        np.testing.assert_array_equal(led_to, [after for _, after, _ in expected])
        # The terminal observation is of the episode that ends; the next one starts elsewhere.
        np.testing.assert_array_equal(next_start, start)
        assert len(set(start)) == -(-14 // len(episode))
        for kind in ("terminated", "truncated"):
            ends = [how == kind for _, _, how in expected]
            np.testing.assert_array_equal(getattr(made, kind)[:, column], ends)
    np.testing.assert_array_equal(made.reward, 1.0)
    assert made.valid.all()


@pytest.mark.parametrize("breaks", ["observation", "reward", "position", "velocity"])
def test_what_is_not_finite_diverges_and_the_next_episode_begins(breaks: str):
    env = counting(episode_length=9, breaks=breaks, breaks_at=3)
    _, made = run(env, 2, jnp.zeros((4, 2, 1)))
    np.testing.assert_array_equal(made.valid[:, 0], [True, True, False, True])
    np.testing.assert_array_equal(made.truncated[:, 0], [False, False, True, False])
    assert not made.terminated.any()  # although the environment says that it is done
    np.testing.assert_array_equal(made.reward[:, 0], [1.0, 1.0, 0.0, 1.0])
    np.testing.assert_array_equal(made.next_observation["observation"][:, 0, 1], [1, 2, 2, 1])
    assert all(np.isfinite(x).all() for x in jax.tree.leaves((made.observation, made.reward)))


def test_a_step_leaves_the_state_that_it_is_given_as_it_is():
    env = counting()
    first = env.reset(jax.random.key(0))
    second = env.step(first, jnp.zeros(1))
    for name in ("metrics", "info"):
        assert getattr(first.simulation, name)["count"] == 0.0
        assert getattr(second.simulation, name)["count"] == 1.0


def observe_cue(observe) -> functools.partial:
    """`observe(count) -> []` as the one observation that the probes' learner looks at."""
    return lambda _start, count: {"cue": observe(count)[None]}


def test_a_value_reaches_past_the_time_limit():
    """`1 / (1 - 0.8) = 5`, in pieces of four steps."""
    env = counting(observe=observe_cue(jnp.zeros_like))
    _, state, transitions = learn(probes.Probe(env, None))
    assert transitions.truncated.mean() == 0.25
    np.testing.assert_allclose(values(state, transitions), 5.0, atol=0.1)


def test_a_value_stops_where_the_environment_is_done():
    """`(1 - 0.8^n) / (1 - 0.8)` with `n` steps left of four: 2.952, 2.44, 1.8 and 1."""
    env = counting(9, ends_at=4, observe=observe_cue(lambda count: count / 4))
    _, state, transitions = learn(probes.Probe(env, None))
    assert transitions.terminated.mean() == 0.25
    left = 4.0 - 4.0 * transitions.observation["cue"][:, 0]
    known = (1.0 - DISCOUNT**left) / (1.0 - DISCOUNT)
    np.testing.assert_allclose(values(state, transitions), np.stack([known, known]), atol=0.1)


def test_the_loop_and_the_evaluation_run_on_it():
    env = counting(episode_length=5)
    learner = make_sac(
        SACConfig(policy_widths=(8,), critic_widths=(8,)), env.observation_spec, env.action_spec
    )
    config = LoopConfig(steps=64, epoch_steps=32, num_envs=4, warmup_steps=16, batch_size=8)
    loop = make_loop(env, learner, config)
    state = loop.init(jax.random.key(0))
    for episodes in (4, 8):  # eight steps an epoch: one episode each, then two
        state, metrics = loop.run_epoch(state)
        assert metrics["episode/count"] == episodes
        assert metrics["episode/return"] == 5.0
        assert metrics["episode/diverged"] == 0.0
        assert "episode/success" not in metrics
        assert np.isfinite(metrics["train/critic_loss"])
    evaluate = make_evaluate(env, learner, 3, stochastic=False)
    assert evaluate(state.learner.policy, jax.random.key(1)) == {"return_mean": 5.0}


def test_first_states_are_new_or_of_a_given_number():
    def starts(resets: int) -> np.ndarray:
        env = counting(resets=resets)
        return np.asarray(reset_many(env, jax.random.key(1), 64).observation["observation"][:, 0])

    assert len(set(starts(0))) == 64
    keys = jax.random.split(jax.random.key(0), 5)
    pool = jax.vmap(lambda k: jax.random.uniform(jax.random.key_data(k)))(keys)
    assert set(starts(5)) == set(np.asarray(pool))


class Steps(NamedTuple):
    """Of eight pendulums under the same actions, without resets."""

    ours: State
    theirs: envs.State


@pytest.fixture(scope="module")
def pendulums() -> Callable[[jax.Array], Steps]:
    """Actions `[80, 8, 1]` to what our steps and brax's lead to."""
    env = make_env("brax/inverted_pendulum")
    with quiet():
        bare = envs.get_environment("inverted_pendulum")
    keys = jax.random.split(jax.random.key(0), 8)
    reset_keys = jax.vmap(lambda key: jax.random.key_data(jax.random.split(key)[1]))(keys)

    @jax.jit
    def record(actions: jax.Array) -> Steps:
        def step(states: Steps, action: jax.Array) -> tuple[Steps, Steps]:
            ours = jax.vmap(env.step)(states.ours, action)
            theirs = jax.vmap(bare.step)(states.theirs, action)
            return (Steps(ours, theirs),) * 2

        first = Steps(jax.vmap(env.reset)(keys), jax.vmap(bare.reset)(reset_keys))
        return jax.lax.scan(step, first, actions)[1]

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # brax reads old names of MJX
        record(jnp.zeros((80, 8, 1)))
    return record


def test_steps_are_those_of_brax(pendulums: Callable[[jax.Array], Steps]):
    actions = jax.random.uniform(jax.random.key(1), (80, 8, 1), minval=-1.0, maxval=1.0)
    ours, theirs = jax.tree.map(lambda x: x[:20], pendulums(actions))
    np.testing.assert_array_equal(ours.observation["observation"], theirs.obs)
    np.testing.assert_array_equal(ours.reward, theirs.reward)
    np.testing.assert_array_equal(ours.terminated, theirs.done)
    assert 0.0 < theirs.done.mean() < 1.0
    assert not ours.diverged.any()


def test_where_brax_leaves_the_numbers_ours_diverged(pendulums: Callable[[jax.Array], Steps]):
    """Pushed to one side without end, long after it fell, brax's pendulum becomes NaN."""
    ours, theirs = pendulums(jnp.ones((80, 8, 1)))
    broken = ~np.isfinite(theirs.obs).all(-1)
    assert broken[-1].any()
    assert not broken[0].any()
    np.testing.assert_array_equal(ours.diverged, broken)
    np.testing.assert_array_equal(ours.truncated, broken)
    np.testing.assert_array_equal(ours.reward, np.where(broken, 0.0, 1.0))
    observation = np.asarray(ours.observation["observation"])
    np.testing.assert_array_equal(observation[~broken], np.asarray(theirs.obs)[~broken])
    assert np.isfinite(observation).all()


def test_beyond_the_bounds_an_action_is_what_it_is_at_them():
    class PaysTheAction(Counting):
        def step(self, state, action):
            return super().step(state, action).replace(reward=action[0])

    env = wrap_brax(PaysTheAction(), "mine")
    _, made = run(env, 1, jnp.array([-7.0, -1.0, 0.25, 1.0, 7.0])[:, None, None])
    np.testing.assert_array_equal(made.reward[:, 0], [-1.0, -1.0, 0.25, 1.0, 1.0])


def test_it_has_the_environments_of_brax():
    assert sorted(brax_members()) == list(MEMBERS)


@pytest.mark.parametrize("name", MEMBERS)
def test_every_environment_of_brax_is_usable(name: str):
    env = make_env(f"brax/{name}")
    assert env.name == f"brax/{name}"
    assert env.episode_length == 1000
    assert not env.measures_success
    assert env.info["engine"] == ("brax" if name == "fast" else "brax generalized")
    action = jax.ShapeDtypeStruct((env.action_spec.size,), jnp.float32)
    first = jax.eval_shape(env.reset, jax.random.key(0))
    spec = env.observation_spec["observation"]
    for state in (first, jax.eval_shape(env.step, first, action)):
        assert jax.tree.structure(state) == jax.tree.structure(first)
        assert state.observation["observation"].shape == spec.shape
        assert state.observation["observation"].dtype == spec.dtype == np.float32
    if name in SIZES:
        assert (spec.shape, env.action_spec) == ((SIZES[name][0],), ActionSpec(SIZES[name][1], 1.0))


def test_the_clip_that_brax_calls_does_what_it_did():
    brax.brax_members()
    np.testing.assert_array_equal(fluid.jp.clip(jnp.array([-1.0, 2.0]), a_min=0.5), [0.5, 2.0])
    np.testing.assert_array_equal(fluid.jp.clip(jnp.array([-1.0, 2.0]), 0.0, 1.0), [0.0, 1.0])


def test_the_engine_is_the_one_asked_for():
    env = make_env("brax/inverted_pendulum", engine="mjx")
    assert env.info["engine"] == "brax mjx"
    state = jax.eval_shape(env.reset, jax.random.key(0))
    assert hasattr(state.simulation.pipeline_state, "qpos")  # MJX's, which brax's own have not


def nested(start: jax.Array, count: jax.Array) -> dict:
    # the order of these names is another one than that of the arrays in the tree
    return {"arm": {"joint": start[None], "count": (count[None], -count[None])}, "arm-": start}


def test_nested_observations_have_names():
    env = counting(observe=nested)
    names = ["arm-", "arm.count.0", "arm.count.1", "arm.joint"]
    assert sorted(env.observation_spec) == names
    state = env.reset(jax.random.key(0))
    start = state.observation["arm.joint"]
    for count in (1.0, 2.0):
        state = jax.jit(env.step)(state, jnp.zeros(1))
        assert state.observation["arm.count.0"] == count
        assert state.observation["arm.count.1"] == -count
        assert state.observation["arm.joint"] == state.observation["arm-"] == start


def same_names(start: jax.Array, count: jax.Array) -> dict:
    return {"arm": {"joint": start}, "arm.joint": count}


def cube(_start: jax.Array, count: jax.Array) -> dict:
    return {"camera": count * jnp.ones((16, 16, 16))}


def test_the_axes_of_images_can_be_said():
    env = wrap_brax(Counting(observe=cube), "brax/counting", image_axes="numbers")
    assert env.observation_spec["camera"].shape == (16**3,)
    with pytest.raises(UserError, match="image_axes=numbers if it is none"):
        counting(observe=cube)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: make_env("brax/half_cheetah"),
            f"--env=brax/half_cheetah is unknown; brax/ has: {', '.join(envs._envs)}",
        ),
        (
            lambda: make_env("brax/ant", engine="warp"),
            "--engine=warp is not available here; "
            "use one of: auto, generalized, spring, positional, mjx",
        ),
        (
            lambda: make_env("brax/swimmer", engine="mjx"),
            "--engine=mjx is no choice that brax/swimmer has; use --engine=auto",
        ),
        (
            lambda: make_brax("fast", episode_length=0),
            "brax/fast: episode_length must be at least 1, got 0",
        ),
        (
            lambda: make_brax("fast", resets=-1),
            "brax/fast: resets must be at least 0, got -1",
        ),
        (
            lambda: counting(observe=same_names),
            "brax/counting: an observation must be an array, or arrays of different names; the "
            "names are arm.joint",
        ),
    ],
)
def test_what_cannot_be_is_said_in_one_line(make, message: str):
    with pytest.raises(UserError) as caught:
        make()
    assert str(caught.value) == message


def test_a_step_that_returns_other_parts_is_refused():
    class Forgetful(Counting):
        def step(self, state, action):
            return super().step(state, action).replace(metrics={})

    env = wrap_brax(Forgetful(), "mine")
    with pytest.raises(UserError, match="mine: a step must return a state of the same parts"):
        env.step(env.reset(jax.random.key(0)), jnp.zeros(1))


def test_it_is_made_without_noise(tmp_path):
    """brax, Warp and MuJoCo would say that things are missing, deprecated and not maintained."""
    program = "from behavior_priors.envs.registry import make_env; make_env('brax/halfcheetah')"
    result = subprocess.run(
        [sys.executable, "-W", "always::UserWarning", "-c", program],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert (result.stdout, result.stderr) == ("", "")
    assert not list(tmp_path.iterdir())
