from __future__ import annotations

import jax
import jax.numpy as jnp
import mujoco
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from behavior_priors.envs.manipulation import objects, scene
from behavior_priors.envs.physics import make_physics
from behavior_priors.envs.physics.base import Physics, PhysicsState, initial_physics_state

SUBSTEPS = 6


def two_scenes() -> Physics:
    names = [("mug", "lamp_1", "bar"), ("block_2", "cap", "hammer_3")]
    models = [scene.build_model([objects.OBJECTS[n] for n in slots]) for slots in names]
    return make_physics("c", models, SUBSTEPS)


def some_states(physics: Physics, count: int) -> tuple[PhysicsState, jax.Array, jax.Array]:
    model = physics.models[0]
    rng = np.random.default_rng(0)
    qpos = np.tile(model.qpos0, (count, 1)).astype(np.float32)
    qpos[:, :6] += rng.normal(0, 0.2, (count, 6))
    states = jax.vmap(lambda q: initial_physics_state(model, q))(jnp.asarray(qpos))
    ctrl = jnp.asarray(rng.normal(0, 0.3, (count, model.nu)), jnp.float32)
    return states, ctrl, jnp.arange(count) % 2


def test_a_step_is_what_mujoco_does() -> None:
    physics = two_scenes()
    states, ctrl, scenes = some_states(physics, 4)
    stepped, diverged = jax.jit(jax.vmap(physics.step))(states, ctrl, scenes)
    assert not bool(diverged.any())
    for i in range(4):
        model = physics.models[int(scenes[i])]
        data = mujoco.MjData(model)
        data.qpos[:], data.ctrl[:] = states.qpos[i], ctrl[i]
        for _ in range(SUBSTEPS):
            mujoco.mj_step(model, data)
        np.testing.assert_array_equal(stepped.qpos[i], data.qpos.astype(np.float32))
        np.testing.assert_array_equal(stepped.qvel[i], data.qvel.astype(np.float32))


def test_nested_vmaps_are_one_flat_batch() -> None:
    physics = two_scenes()
    states, ctrl, scenes = some_states(physics, 6)
    flat = jax.jit(jax.vmap(physics.step))(states, ctrl, scenes)

    def fold(x: jax.Array) -> jax.Array:
        return x.reshape(2, 3, *x.shape[1:])

    nested = jax.jit(jax.vmap(jax.vmap(physics.step)))(*jax.tree.map(fold, (states, ctrl, scenes)))
    jax.tree.map(np.testing.assert_array_equal, jax.tree.map(fold, flat), nested)


def test_two_devices_are_bitwise_equal_to_one() -> None:
    physics = two_scenes()
    states, ctrl, scenes = some_states(physics, 64)

    def run(states: PhysicsState, ctrl: jax.Array, scenes: jax.Array) -> PhysicsState:
        def step(s: PhysicsState, _: None) -> tuple[PhysicsState, None]:
            return jax.vmap(physics.step)(s, ctrl, scenes)[0], None

        return jax.lax.scan(step, states, length=20)[0]

    assert len(jax.devices()) >= 2
    one = jax.jit(run)(states, ctrl, scenes)
    mesh = Mesh(np.array(jax.devices()[:2]), ("data",))
    spread = NamedSharding(mesh, PartitionSpec("data"))
    everywhere = PartitionSpec("data")
    # JAX does not know that what a callback returns varies over devices
    sharded = jax.shard_map(
        run, mesh=mesh, in_specs=everywhere, out_specs=everywhere, check_vma=False
    )
    for _ in range(5):  # a race shows only now and then
        two = jax.jit(sharded)(*jax.device_put((states, ctrl, scenes), spread))
        jax.tree.map(np.testing.assert_array_equal, one, two)


def test_divergence_is_reported_for_the_one_it_happened_to() -> None:
    physics = two_scenes()
    states, ctrl, scenes = some_states(physics, 3)
    states = states._replace(qvel=states.qvel.at[1, 0].set(1e12))
    _, diverged = jax.jit(jax.vmap(physics.step))(states, ctrl, scenes)
    np.testing.assert_array_equal(diverged, [False, True, False])
    _, diverged = jax.jit(jax.vmap(physics.step))(*some_states(physics, 3))
    assert not bool(diverged.any())


def test_rays_meet_the_table_at_the_right_distance() -> None:
    physics = two_scenes()
    states, _, _ = some_states(physics, 1)
    state = jax.tree.map(lambda x: x[0], states)
    origins = jnp.asarray([[0.7, 0.5, 0.25], [0.7, 0.5, 0.25]])
    directions = jnp.asarray([[0.0, 0.0, -1.0], [0.0, 0.0, 1.0]])
    hits = jax.jit(physics.ray)(state, jnp.int32(0), origins, directions)
    np.testing.assert_allclose(hits.distance, [0.25, -1.0])
    assert physics.models[0].geom(int(hits.geom[0])).name == "table"
    assert int(hits.geom[1]) == -1
    np.testing.assert_allclose(hits.normal[0], [0, 0, 1], atol=1e-6)
