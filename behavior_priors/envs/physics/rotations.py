"""Unit quaternions `[..., 4]` in MuJoCo's order (w, x, y, z)."""

from __future__ import annotations

import jax.numpy as jnp

from behavior_priors.types import Array


def multiply(p: Array, q: Array) -> Array:
    """The rotation `q` followed by `p`."""
    pw, pv = p[..., :1], p[..., 1:]
    qw, qv = q[..., :1], q[..., 1:]
    w = pw * qw - jnp.sum(pv * qv, axis=-1, keepdims=True)
    return jnp.concatenate([w, pw * qv + qw * pv + jnp.cross(pv, qv)], axis=-1)


def conjugate(q: Array) -> Array:
    """The inverse rotation."""
    return q * jnp.array([1.0, -1.0, -1.0, -1.0], q.dtype)


def rotate(q: Array, v: Array) -> Array:
    """Rotates vectors `[..., 3]`."""
    w, u = q[..., :1], q[..., 1:]
    t = 2.0 * jnp.cross(u, v)
    return v + w * t + jnp.cross(u, t)


def from_rotation_vector(r: Array) -> Array:
    """The rotation by `|r|` radians about `r` `[..., 3]`; smooth at zero."""
    half_squared = 0.25 * jnp.sum(r * r, axis=-1, keepdims=True)
    half = jnp.sqrt(jnp.maximum(half_squared, 1e-12))
    # sin(half) / (2 half), whose limit at zero is 1/2
    scale = jnp.where(half_squared < 1e-8, 0.5 - half_squared / 12.0, 0.5 * jnp.sin(half) / half)
    return jnp.concatenate([jnp.cos(half), scale * r], axis=-1)


def from_yaw(yaw: Array) -> Array:
    """The rotation by `yaw` `[...]` radians about the vertical."""
    zero = jnp.zeros_like(yaw)
    return jnp.stack([jnp.cos(yaw / 2), zero, zero, jnp.sin(yaw / 2)], axis=-1)


def to_matrix(q: Array) -> Array:
    """The rotation matrix `[..., 3, 3]`."""
    w, x, y, z = jnp.moveaxis(jnp.asarray(q), -1, 0)
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return jnp.stack([jnp.stack(row, axis=-1) for row in rows], axis=-2)


def matrix_to_rotation_vector(matrix: Array) -> Array:
    """The rotation vector `[..., 3]`, radians, of a rotation matrix by less than half a turn."""
    sine = 0.5 * jnp.stack(
        [
            matrix[..., 2, 1] - matrix[..., 1, 2],
            matrix[..., 0, 2] - matrix[..., 2, 0],
            matrix[..., 1, 0] - matrix[..., 0, 1],
        ],
        axis=-1,
    )
    length = jnp.sqrt(jnp.sum(sine * sine, axis=-1, keepdims=True) + 1e-14)
    cosine = 0.5 * (jnp.trace(matrix, axis1=-2, axis2=-1)[..., None] - 1.0)
    return sine * jnp.arctan2(length, cosine) / length


def first_columns(matrix: Array) -> Array:
    """The first two columns `[..., 6]`: a continuous picture of rotations (Zhou et al. 2019)."""
    return jnp.swapaxes(matrix[..., :2], -1, -2).reshape(*matrix.shape[:-2], 6)
