"""Forward and inverse kinematics of a serial arm, in JAX, read off its MuJoCo model.

Inverse kinematics is damped least squares (Wampler 1986; Nakamura and Hanafusa 1986): with the pose
error `e` and the Jacobian `J`, joints move by `J^T (J J^T + damping^2 I)^-1 e`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import mujoco
import numpy as np

from behavior_priors.envs.physics import rotations
from behavior_priors.types import Array


class Chain(NamedTuple):
    """A chain of hinges, each given in the frame of the one before.

    Attributes:
      offsets: `[joints + 1, 3]`, the last one that of the end effector, metres.
      rotations: `[joints + 1, 3, 3]`.
      axes: `[joints, 3]`, unit vectors in the hinges' own frames.
      lower: `[joints]`, radians.
      upper: `[joints]`, radians.
    """

    offsets: np.ndarray
    rotations: np.ndarray
    axes: np.ndarray
    lower: np.ndarray
    upper: np.ndarray


def chain_from_model(model: Any, num_joints: int, site: str) -> Chain:
    """Reads the chain whose first hinge is joint 0 and whose end is a site on the last body.

    Args:
      model: a `mujoco.MjModel` whose first `num_joints` joints are hinges, one a body.
      num_joints: length of the chain.
      site: name of the end effector's site.
    """
    bodies = model.jnt_bodyid[:num_joints]
    end = model.site(site)
    offsets = model.body_pos[bodies].copy()
    quaternions = np.vstack([model.body_quat[bodies], end.quat])
    turns = np.empty((len(quaternions), 9))
    for turn, quaternion in zip(turns, quaternions, strict=True):
        mujoco.mju_quat2Mat(turn, quaternion)
    # the first hinge's body hangs on fixed ones
    parent = model.body_parentid[bodies[0]]
    while parent:
        offsets[0] += model.body_pos[parent]
        parent = model.body_parentid[parent]
    return Chain(
        offsets=np.vstack([offsets, end.pos]).astype(np.float32),
        rotations=turns.reshape(-1, 3, 3).astype(np.float32),
        axes=model.jnt_axis[:num_joints].astype(np.float32),
        lower=model.jnt_range[:num_joints, 0].astype(np.float32),
        upper=model.jnt_range[:num_joints, 1].astype(np.float32),
    )


def forward(chain: Chain, joints: Array) -> tuple[Array, Array, Array]:
    """Pose and Jacobian of the end effector.

    Args:
      chain: the arm.
      joints: `[joints]`, radians.

    Returns:
      Position `[3]`, rotation `[3, 3]`, and the geometric Jacobian `[6, joints]`, linear
      rows first.
    """
    cross = jnp.asarray([[[0, -z, y], [z, 0, -x], [-y, x, 0]] for x, y, z in chain.axes])
    sine, cosine = jnp.sin(joints)[:, None, None], jnp.cos(joints)[:, None, None]
    turns = jnp.eye(3) + sine * cross + (1.0 - cosine) * (cross @ cross)  # Rodrigues

    position, rotation = jnp.zeros(3), jnp.eye(3)
    anchors, axes = [], []
    for offset, fixed, turn, axis in zip(
        chain.offsets, chain.rotations, turns, chain.axes, strict=False
    ):
        position = position + rotation @ offset
        rotation = rotation @ (fixed @ turn)
        anchors.append(position)
        axes.append(rotation @ axis)
    position = position + rotation @ chain.offsets[-1]
    rotation = rotation @ chain.rotations[-1]
    axis, anchor = jnp.stack(axes), jnp.stack(anchors)
    jacobian = jnp.concatenate([jnp.cross(axis, position - anchor), axis], axis=-1).T
    return position, rotation, jacobian


def inverse(
    chain: Chain,
    joints: Array,
    position: Array,
    rotation: Array,
    *,
    iterations: int = 3,
    damping: float = 0.03,
) -> Array:
    """Joints that bring the end effector towards a pose, starting from known ones.

    Args:
      chain: the arm.
      joints: `[joints]`, where to start, radians.
      position: `[3]`, wanted.
      rotation: `[3, 3]`, wanted.
      iterations: steps of damped least squares.
      damping: larger is slower and calmer near singular poses; metres and radians alike.

    Returns:
      Joints `[joints]` within their ranges.
    """

    def improve(_: int, q: Array) -> Array:
        at, facing, jacobian = forward(chain, q)
        turn = rotations.matrix_to_rotation_vector(rotation @ facing.T)
        error = jnp.concatenate([position - at, turn])
        # sums of products, because a batch of tiny matrix products is slower
        gram = (jacobian[:, None] * jacobian[None]).sum(-1) + damping**2 * jnp.eye(6)
        step = (jacobian * _solve_positive(gram, error)[:, None]).sum(0)
        return jnp.clip(q + step, chain.lower, chain.upper)

    return jax.lax.fori_loop(0, iterations, improve, joints)


def _solve_positive(matrix: Array, vector: Array) -> Array:
    """Solves `matrix [n, n] @ x = vector [n]`, the matrix symmetric and positive definite.

    Gauss-Jordan elimination, whose steps are rank-one updates of whole arrays: mapped over
    environments they vectorise, while LAPACK takes one small matrix after the other.
    """
    (size,) = vector.shape
    table = jnp.concatenate([matrix, vector[:, None]], axis=1)
    for i in range(size):
        pivot = table[i] / table[i, i]
        table = (table - table[:, i : i + 1] * pivot).at[i].set(pivot)
    return table[:, -1]
