from __future__ import annotations

import jax
import jax.numpy as jnp
import mujoco
import numpy as np
import pytest

from behavior_priors.envs.manipulation import kinematics, objects, scene, tabletop
from behavior_priors.envs.physics import rotations


@pytest.fixture(scope="module")
def model() -> mujoco.MjModel:
    return scene.build_model([objects.OBJECTS[name] for name in ("mug", "block_1", "lamp_2")])


@pytest.fixture(scope="module")
def chain(model: mujoco.MjModel) -> kinematics.Chain:
    return kinematics.chain_from_model(model, scene.ARM_DOFS, "grip")


def random_joints(chain: kinematics.Chain, count: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.uniform(0.5 * chain.lower, 0.5 * chain.upper, (count, 6)).astype(np.float32)


def test_forward_kinematics_is_mujoco_s(model: mujoco.MjModel, chain: kinematics.Chain) -> None:
    data = mujoco.MjData(model)
    forward = jax.jit(lambda q: kinematics.forward(chain, q))
    for joints in random_joints(chain, 20):
        data.qpos[:6] = joints
        mujoco.mj_kinematics(model, data)
        position, rotation, _ = forward(jnp.asarray(joints))
        site = data.site("grip")
        np.testing.assert_allclose(position, site.xpos, atol=2e-6)
        np.testing.assert_allclose(rotation, site.xmat.reshape(3, 3), atol=5e-6)


def test_jacobian_is_the_derivative(chain: kinematics.Chain) -> None:
    joints = jnp.asarray(random_joints(chain, 1)[0])
    _, rotation, jacobian = kinematics.forward(chain, joints)
    linear = jax.jacfwd(lambda q: kinematics.forward(chain, q)[0])(joints)
    np.testing.assert_allclose(jacobian[:3], linear, atol=1e-5)
    # dR/dq R^T is the cross-product matrix of the angular velocity
    spin = jax.jacfwd(lambda q: kinematics.forward(chain, q)[1])(joints)
    skew = jnp.einsum("ijq,kj->qik", spin, rotation)
    angular = jnp.stack([skew[:, 2, 1], skew[:, 0, 2], skew[:, 1, 0]])
    np.testing.assert_allclose(jacobian[3:], angular, atol=1e-5)


def test_the_home_joints_are_those_of_the_home_pose(chain: kinematics.Chain) -> None:
    position, rotation, _ = kinematics.forward(chain, jnp.asarray(tabletop.HOME_JOINTS))
    np.testing.assert_allclose(position, tabletop.HOME, atol=1e-6)
    down = [[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [-1.0, 0.0, 0.0]]
    np.testing.assert_allclose(rotation, down, atol=1e-6)


def test_inverse_kinematics_reaches_nearby_poses(chain: kinematics.Chain) -> None:
    rng = np.random.default_rng(1)
    start = jnp.asarray([0.2, -0.2, 0.5, 0.1, 1.2, -0.1])
    solve = jax.jit(
        lambda p, r: kinematics.inverse(chain, start, p, r, iterations=10, damping=0.01)
    )
    for offset in rng.uniform(-0.15, 0.15, (20, 6)).astype(np.float32):
        position, rotation, _ = kinematics.forward(chain, start + offset)
        found = solve(position, rotation)
        reached, facing, _ = kinematics.forward(chain, found)
        np.testing.assert_allclose(reached, position, atol=1e-4)
        np.testing.assert_allclose(facing, rotation, atol=1e-3)


@pytest.mark.parametrize("angle", [0.0, 1e-5, 0.3, 2.0])
def test_rotation_vectors_survive_the_way_through_matrices(angle: float) -> None:
    axis = jnp.asarray([0.6, -0.48, 0.64])
    vector = angle * axis
    matrix = rotations.to_matrix(rotations.from_rotation_vector(vector))
    np.testing.assert_allclose(rotations.matrix_to_rotation_vector(matrix), vector, atol=2e-6)


def test_a_quarter_turn_about_the_vertical() -> None:
    quarter = rotations.from_yaw(jnp.asarray(jnp.pi / 2))
    np.testing.assert_allclose(quarter, [np.sqrt(0.5), 0, 0, np.sqrt(0.5)], atol=1e-6)
    expected = [[0, -1, 0], [1, 0, 0], [0, 0, 1]]
    np.testing.assert_allclose(rotations.to_matrix(quarter), expected, atol=1e-6)
    half = rotations.multiply(quarter, quarter)
    np.testing.assert_allclose(half, [0, 0, 0, 1], atol=1e-6)
    columns = rotations.first_columns(rotations.to_matrix(quarter))
    np.testing.assert_allclose(columns, [0, 1, 0, -1, 0, 0], atol=1e-6)
