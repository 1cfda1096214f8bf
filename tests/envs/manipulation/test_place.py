"""Containers and place tasks: what they are made of, and that placing works."""

from __future__ import annotations

import itertools

import jax
import jax.numpy as jnp
import mujoco
import numpy as np
import pytest

from behavior_priors.envs.base import reset_many
from behavior_priors.envs.manipulation import containers, layouts, objects, place, scene
from behavior_priors.envs.manipulation.containers import CONTAINERS
from behavior_priors.envs.registry import make_env
from behavior_priors.envs.rollout import rollout
from behavior_priors.errors import UserError
from behavior_priors.types import Env


@pytest.fixture(scope="module")
def env() -> Env:
    return make_env("place/validation", demonstrator_noise=0.0, any_object=False)


def test_there_are_enough_containers_that_objects_fit() -> None:
    counts = [len(containers.container_names(s)) for s in ("train", "validation", "test")]
    assert counts[0] >= 8
    assert counts[2] >= 4
    assert sum(counts) == len(CONTAINERS)
    for one in CONTAINERS.values():
        # what is laid in it fits under the rim, and fingers can follow
        assert min(one.inner) >= 0.04
        assert one.floor <= one.rim
        assert one.radius < 0.125


def test_no_container_is_another_one_at_another_scale() -> None:
    for one, other in itertools.combinations(CONTAINERS.values(), 2):
        shapes = [
            np.array([[*p.size, *p.position, *p.orientation] for p in c.colliding])
            for c in (one, other)
        ]
        if shapes[0].shape == shapes[1].shape:
            for shape in shapes:
                shape[:, :6] /= np.abs(shape[:, :6]).max()
            assert np.abs(shapes[0] - shapes[1]).max() > 0.02, (one.name, other.name)


def test_models_with_containers_have_one_layout_and_few_contact_pairs() -> None:
    items = [objects.OBJECTS["mug"], objects.OBJECTS["block_1"]]
    models = [scene.build_model(items, c, (0.35, 0.12)) for c in CONTAINERS.values()]
    for field in ("nq", "nv", "nu", "ngeom", "npair", "nbody", "nM"):
        assert len({getattr(m, field) for m in models}) == 1, field
    # hand and table; objects with table, hand and each other; five boxes with hand and objects
    assert models[0].npair == 3 + 6 + 18 + 9 + 5 * (3 + 6)
    assert all((m.geom_type == models[0].geom_type)[m.geom_group == 3].all() for m in models)


@pytest.mark.parametrize("name", CONTAINERS)
def test_an_object_laid_into_a_container_stays_and_counts(name: str) -> None:
    container, item = CONTAINERS[name], objects.OBJECTS["block_1"]
    model = scene.build_model([item, objects.OBJECTS["mug"]], container, (0.35, 0.1))
    data = mujoco.MjData(model)
    data.qpos[6:8] = 0.045
    data.qpos[8:15] = [0.35, 0.1, container.floor + item.rest_height + 1e-3, 1, 0, 0, 0]
    data.qpos[15:22] = [0.35, -0.15, objects.OBJECTS["mug"].rest_height, 1, 0, 0, 0]
    mujoco.mj_step(model, data, 144)
    position = np.stack([data.qpos[8:11], data.qpos[15:18]])
    np.testing.assert_allclose(position[0, :2], [0.35, 0.1], atol=3e-3)
    observation = {
        "object_position": jnp.asarray(position, jnp.float32),
        "object_present": jnp.ones(2),
        "container_position": jnp.array([0.35, 0.1, container.floor], jnp.float32),
    }
    rest = jnp.array([item.rest_height, objects.OBJECTS["mug"].rest_height], jnp.float32)
    assert place.placed(observation, rest).tolist() == [True, False]


def test_what_counts_as_placed() -> None:
    observation = {
        "object_position": jnp.array(
            [[0.30, 0.1, 0.05], [0.349, 0.1, 0.05], [0.351, 0.1, 0.05], [0.30, 0.1, 0.08]]
        ),
        "object_present": jnp.ones(4),
        "container_position": jnp.array([0.30, 0.1, 0.01]),
    }
    # within 5 cm of the middle, and less than 2.5 cm above rest: 0.05 - 0.01 - 0.03 is 1 cm
    rest = jnp.full(4, 0.03)
    assert place.placed(observation, rest).tolist() == [True, True, False, False]
    observation["object_present"] = jnp.array([1.0, 0.0, 1.0, 1.0])
    assert place.placed(observation, rest).tolist() == [True, False, False, False]


def test_objects_start_apart_from_the_container_and_not_placed() -> None:
    env = make_env("place/train")
    states = jax.jit(lambda k: reset_many(env, k, 2000))(jax.random.key(0))
    position = np.asarray(states.observation["object_position"])[:, : place.SLOTS, :2]
    middle = np.asarray(states.observation["container_position"])[:, None, :2]
    chosen = [layouts.Layout(tuple(s[:2])) for s in env.info["scenes"]]
    radius = layouts.make_scenes(chosen).radius[np.asarray(states.simulation.scene), : place.SLOTS]
    names = [s[2].partition(" ")[0] for s in env.info["scenes"]]
    reach = np.array([CONTAINERS[n].radius for n in names])[np.asarray(states.simulation.scene)]
    room = np.linalg.norm(position - middle, axis=-1) - radius - reach[:, None]
    assert room.min() > 0.0
    between = np.linalg.norm(position[:, 0] - position[:, 1], axis=-1) - radius.sum(1)
    assert between.min() > 0.0


def test_the_demonstrator_places_most_of_the_time(env: Env) -> None:
    assert env.demonstrate is not None
    episodes = jax.jit(lambda k: rollout(env, env.demonstrate, k, 128))(jax.random.key(100))
    assert not np.asarray(episodes.success[:, 0]).any()
    assert float(episodes.final_success.mean()) > 0.5
    assert not np.asarray(episodes.final.diverged).any()


def test_a_task_is_about_its_object_and_container() -> None:
    env = make_env("place/mug-in-basket")
    assert env.info["scenes"] == [["mug", "cap", "basket at 0.350 0.150"]]
    state = jax.jit(env.reset)(jax.random.key(0))
    basket = CONTAINERS["basket"]
    np.testing.assert_allclose(
        state.observation["container_position"], [0.35, 0.15, basket.floor], rtol=1e-6
    )
    np.testing.assert_allclose(
        state.observation["container_size"], [*basket.inner, basket.rim - basket.floor], rtol=1e-6
    )
    assert env.observation_spec["object_position"].shape == (3, 3)


def test_grasp_and_place_observe_the_same_arrays_absent_ones_as_zero() -> None:
    grasp, placing = make_env("grasp/mug"), make_env("place/mug-in-basket")
    specs = [jax.tree.map(np.asarray, dict(e.observation_spec)) for e in (grasp, placing)]
    assert list(specs[0]) == list(specs[1])
    for one, other in zip(*(jax.tree.leaves(spec) for spec in specs), strict=True):
        np.testing.assert_array_equal(one, other)
    one, other = (jax.jit(e.reset)(jax.random.key(0)).observation for e in (grasp, placing))
    for name, array in one.items():
        assert array.shape == other[name].shape == grasp.observation_spec[name].shape, name
    assert one["object_present"].tolist() == [1.0, 1.0, 1.0]
    assert other["object_present"].tolist() == [1.0, 1.0, 0.0]
    assert (one["container_present"].tolist(), other["container_present"].tolist()) == ([0], [1])
    for name in ("position", "rotation", "size", "offset"):
        assert not np.asarray(other[f"object_{name}"])[2].any(), name
        assert np.asarray(other[f"object_{name}"])[:2].any(axis=1).all(), name
    for name in ("position", "size", "offset"):
        assert not np.asarray(one[f"container_{name}"]).any(), name


def test_a_task_may_have_more_objects_than_others_observe() -> None:
    four = layouts.make_scenes([layouts.Layout(("mug", "cap", "can", "bar"))])
    two = layouts.make_scenes([layouts.Layout(("mug", "cap"))])
    assert four.present.tolist() == [[True] * 4]
    assert two.present.tolist() == [[True, True, False]]
    assert two.radius[0, 2] == two.rest_height[0, 2] == 0.0
    np.testing.assert_array_equal(two.half_extents[0, :2], four.half_extents[0, :2])


@pytest.mark.parametrize("member", ["mug", "mug-in-sack", "spoon-in-pan", "mugs"])
def test_unknown_members_are_named(member: str) -> None:
    with pytest.raises(UserError, match=f"--env=place/{member} is unknown; place/ has OBJECT-in-"):
        make_env(f"place/{member}")
    with pytest.raises(UserError, match="--reward=dense is unknown to place/; use sparse"):
        make_env("place/mug-in-pan", reward="dense")
