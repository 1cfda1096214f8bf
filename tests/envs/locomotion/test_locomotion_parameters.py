"""Bodies with random parameters: their law, the engines that move them, the forces they feel."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import mujoco
import numpy as np
import pytest

from behavior_priors.envs.locomotion.bodies import BODIES, load_model
from behavior_priors.envs.locomotion.parameters import BASES, random_models
from behavior_priors.envs.physics import make_physics
from behavior_priors.envs.physics.base import initial_physics_state
from behavior_priors.envs.registry import make_env
from behavior_priors.errors import UserError

pytest.importorskip("gymnasium")


@pytest.mark.parametrize("body", ["walker", "hopper"])
def test_parameters_follow_their_law(body: str) -> None:
    model = load_model(BODIES[body])
    untouched = load_model(BODIES[body])
    models = random_models(model, 200, seed=0)
    for name, base in BASES.items():
        own = getattr(model, name)
        np.testing.assert_array_equal(own, getattr(untouched, name))
        varied = own != 0
        power = np.stack([np.log(getattr(m, name)[varied] / own[varied]) for m in models])
        power /= np.log(base)
        assert -3 <= power.min() < -2.9
        assert 2.9 < power.max() <= 3
        np.testing.assert_allclose([power.mean(), power.std()], [0, np.sqrt(3)], atol=0.1)
        # each number is multiplied by one of its own
        apart = np.corrcoef(power.T)[~np.eye(power.shape[1], dtype=bool)]
        assert np.abs(apart).max() < 0.4
    other = models[3]
    subtree = float(other.body_mass.sum())  # derived, and anew
    np.testing.assert_allclose(other.body_subtreemass[0], subtree)
    assert not np.allclose(other.dof_invweight0, model.dof_invweight0)


def test_a_table_is_what_its_seed_says() -> None:
    model = load_model(BODIES["hopper"])
    short, long = random_models(model, 2, seed=1), random_models(model, 3, seed=1)
    other = random_models(model, 2, seed=2)
    for number in range(2):
        np.testing.assert_array_equal(short[number].body_mass, long[number].body_mass)
        assert not np.allclose(short[number].body_mass, other[number].body_mass)
    assert not np.allclose(short[0].body_mass, short[1].body_mass)


def test_tasks_are_bodies_each_drawn_once() -> None:
    env = make_env("locomotion/walker_params?scenes=12&scene_seed=3", engine="c")
    assert env.tasks is not None
    assert env.info["bodies"] == 12
    assert env.info["bodies_seed"] == 3
    one, two = (np.asarray(env.tasks.sample(jax.random.key(k), 12)) for k in (0, 1))
    assert sorted(one) == sorted(two) == list(range(12))
    assert one.tolist() != two.tolist()
    few = np.asarray(env.tasks.sample(jax.random.key(0), 5))
    assert len(set(few.tolist())) == 5
    expected = "walker_params has 12 bodies, and 13 tasks are asked for; use .*scenes=13"
    with pytest.raises(UserError, match=expected):
        env.tasks.sample(jax.random.key(0), 13)


def test_bodies_move_in_their_own_ways() -> None:
    env = make_env("locomotion/hopper_params?scenes=6", engine="c")
    assert env.tasks is not None
    keys = jnp.stack([jax.random.key(0)] * 6)
    states = jax.vmap(env.tasks.begin)(jnp.arange(6), keys)
    begins = states.observation["configuration"]
    np.testing.assert_array_equal(begins, jnp.broadcast_to(begins[0], begins.shape))
    step = jax.jit(jax.vmap(env.step))
    states = step(states, jnp.full((6, 3), 0.5))
    speeds = np.sort(np.asarray(states.simulation.physics.qvel[:, 3:]), axis=0)
    assert np.abs(np.diff(speeds, axis=0)).min() > 1e-4
    again = env.tasks.begin(jnp.int32(4), jax.random.key(0))
    again = jax.jit(env.step)(again, jnp.full(3, 0.5))
    np.testing.assert_array_equal(again.simulation.physics.qpos, states.simulation.physics.qpos[4])


def test_engines_agree_on_a_step_of_bodies_with_parameters() -> None:
    after = []
    for engine in ("c", "mjx"):
        env = make_env("locomotion/hopper_params?scenes=3", engine=engine)
        assert env.tasks is not None
        begin, step = jax.jit(env.tasks.begin), jax.jit(env.step)
        # one after the other: MJX compiles faster without a batch
        states = [step(begin(task, jax.random.key(0)), jnp.full(3, 0.7)) for task in (0, 2)]
        after.append(jax.tree.map(lambda *x: np.stack(x), *(s._replace(key=()) for s in states)))
    c, mjx = after
    for name, value in c.observation.items():
        np.testing.assert_allclose(value, mjx.observation[name], atol=1e-3)
    np.testing.assert_allclose(c.reward, mjx.reward, atol=1e-3)
    assert np.abs(np.diff(c.observation["velocity"], axis=0)).max() > 0.1  # bodies differ


@pytest.mark.parametrize("engine", ["c", "mjx"])
def test_contact_forces_are_mujocos(engine: str) -> None:
    body = BODIES["feeling_ant"]
    model = load_model(body)
    # gymnasium's model has no sensor: there MuJoCo computes these forces only when told
    data = mujoco.MjData(model)
    data.qpos[2] = 0.34
    data.qpos[[8, 10, 12, 14]] = 1.0, -1.0, -1.0, 1.0
    data.ctrl[:] = 0.3
    mujoco.mj_forward(model, data)
    data.cfrc_ext[:] = 0
    mujoco.mj_rnePostConstraint(model, data)
    assert np.abs(data.cfrc_ext).max() > 10

    physics = make_physics(engine, [model], body.frame_skip)
    state = initial_physics_state(model, jnp.asarray(data.qpos, jnp.float32))
    names = ("cfrc_ext", "qfrc_actuator", "cvel", "subtree_com", "cinert")
    readings = jax.jit(lambda state: physics.read(state, jnp.full(8, 0.3), jnp.int32(0), names))(
        state
    )
    for name in names:
        expected = getattr(data, name)
        limit = 2e-3 * max(1.0, float(np.abs(expected).max()))
        np.testing.assert_allclose(readings[name], expected, atol=limit, err_msg=name)
    assert float(jnp.abs(readings["cfrc_ext"]).max()) > 10


def test_readings_in_a_batch_are_each_of_its_own_state() -> None:
    body = BODIES["feeling_ant"]
    model = load_model(body)
    physics = make_physics("c", [model], body.frame_skip)
    heights = jnp.array([0.2, 1.0, 0.21, 1.1])

    def forces(height: jax.Array) -> jax.Array:
        qpos = jnp.asarray(model.qpos0, jnp.float32).at[2].set(height)
        state = initial_physics_state(model, qpos)
        return physics.read(state, jnp.zeros(8), jnp.int32(0), ("cfrc_ext",))["cfrc_ext"]

    batch = jax.jit(jax.vmap(forces))(heights)
    assert (np.abs(batch).max((1, 2)) > 1).tolist() == [True, False, True, False]
    for height, expected in zip(heights, batch, strict=True):
        np.testing.assert_array_equal(jax.jit(forces)(height), expected)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("cheetah_velocity?scenes=3", "scenes=3 is no choice that locomotion/cheetah_velocity has"),
        ("ant_goal?headings=any", "headings=any is no choice that locomotion/ant_goal has"),
        ("ant_direction?headings=up", "headings=up is unknown; use one of: two, any"),
        ("hopper_params?scenes=0", "scenes=0 should be a whole number of at least 1"),
        ("hopper_params?scene_seed=-1", "scene_seed=-1 should be a whole number of at least 0"),
    ],
)
def test_options_that_there_are_not(name: str, message: str) -> None:
    with pytest.raises(UserError, match=message.replace("?", r"\?")):
        make_env(f"locomotion/{name}")
