"""Rays against shapes, in JAX: for engines that have no ray caster of their own.

MJX's gives no normals and fixes every geom's type at compilation, while scenes of equal layout may
differ in the types of what is only seen. Conventions are those of MuJoCo's `mj_ray`: surfaces are
met from inside too, a plane from its front only.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import mujoco
import numpy as np

from behavior_priors.envs.physics.base import RayHits
from behavior_priors.types import Array

_PLANE = int(mujoco.mjtGeom.mjGEOM_PLANE)
_SPHERE = int(mujoco.mjtGeom.mjGEOM_SPHERE)
_CAPSULE = int(mujoco.mjtGeom.mjGEOM_CAPSULE)
_CYLINDER = int(mujoco.mjtGeom.mjGEOM_CYLINDER)
_BOX = int(mujoco.mjtGeom.mjGEOM_BOX)


class Shapes(NamedTuple):
    """Shapes in the world, in MuJoCo's conventions.

    Attributes:
      kind: `[shapes]` int32, of `mujoco.mjtGeom`; anything else is not there.
      size: `[shapes, 3]`, metres.
      position: `[shapes, 3]`, metres.
      rotation: `[shapes, 3, 3]`, whose columns are the shape's axes.
    """

    kind: Array
    size: Array
    position: Array
    rotation: Array


def cast_rays(
    shapes: Shapes, origins: Array, directions: Array, possible: dict[int, np.ndarray]
) -> RayHits:
    """Where rays first meet a shape.

    Args:
      shapes: what there is.
      origins: `[rays, 3]`, metres.
      directions: `[rays, 3]`, of any length.
      possible: for each kind the shapes that may be of it; nothing else is computed.

    Returns:
      Hits whose `geom` is a number in `shapes`.

    Raises:
      ValueError: a kind that rays cannot meet.
    """
    unknown = sorted(set(possible) - set(_MEET))
    if unknown:
        names = ", ".join(mujoco.mjtGeom(kind).name for kind in unknown)
        raise ValueError(
            f"rays meet planes, spheres, capsules, cylinders and boxes; a visible geom is {names}"
        )
    point = jnp.einsum("rsi,sij->rsj", origins[:, None] - shapes.position, shapes.rotation)
    ray = jnp.einsum("ri,sij->rsj", directions, shapes.rotation)
    distance = jnp.full(point.shape[:2], jnp.inf)
    for kind, which in possible.items():
        met = _MEET[kind](shapes.size[which], point[:, which], ray[:, which])
        met = jnp.where(shapes.kind[which] == kind, met, jnp.inf)
        distance = distance.at[:, which].min(met)

    first = distance.argmin(axis=1)
    row = jnp.arange(len(first))
    nearest = distance[row, first]
    hit = jnp.isfinite(nearest)
    nearest = jnp.where(hit, nearest, 0.0)
    local = point[row, first] + nearest[:, None] * ray[row, first]
    normal = jnp.einsum(
        "rij,rj->ri",
        shapes.rotation[first],
        jax.vmap(_normal)(shapes.kind[first], shapes.size[first], local),
    )
    return RayHits(
        distance=jnp.where(hit, nearest, -1.0),
        geom=jnp.where(hit, first, -1).astype(jnp.int32),
        normal=jnp.where(hit[:, None], normal, 0.0),
    )


def _divide(a: Array, b: Array) -> Array:
    """A huge number where `b` is zero; what lies that far away is nowhere inside a shape."""
    return a / jnp.where(jnp.abs(b) < 1e-12, 1e-12, b)


def _roots(point: Array, ray: Array, radius: Array) -> Array:
    """Both crossings `[2, ...]` of a sphere or, in two dimensions, a circle; infinite for none.

    Counted from the point nearest to the middle, where no digits cancel: in float32, the formula
    for quadratics is off by millimetres on small shapes at a metre's distance.
    """
    square = (ray * ray).sum(-1)
    middle = -_divide((point * ray).sum(-1), square)
    nearest = point + middle[..., None] * ray
    left = radius**2 - (nearest * nearest).sum(-1)
    half = jnp.sqrt(_divide(jnp.maximum(left, 0.0), square))
    return jnp.where(left > 0.0, jnp.stack([middle - half, middle + half]), jnp.inf)


def _first(distance: Array, valid: Array) -> Array:
    """The nearest of the crossings `[crossings, ...]` that are valid and not behind."""
    return jnp.where(valid & (distance >= 0.0), distance, jnp.inf).min(axis=0)


# Each takes sizes `[shapes, 3]`, and points and rays `[rays, shapes, 3]` in the shapes' frames, to
# distances `[rays, shapes]`, infinite where nothing is met.


def _meet_plane(size: Array, point: Array, ray: Array) -> Array:
    distance = -_divide(point[..., 2], ray[..., 2])
    at = point[..., :2] + distance[..., None] * ray[..., :2]
    within = ((size[:, :2] <= 0.0) | (jnp.abs(at) <= size[:, :2])).all(-1)
    return _first(distance[None], within & (ray[..., 2] < 0.0))


def _meet_sphere(size: Array, point: Array, ray: Array) -> Array:
    distance = _roots(point, ray, size[:, 0])
    return _first(distance, jnp.isfinite(distance))


def _meet_capsule(size: Array, point: Array, ray: Array) -> Array:
    side = _roots(point[..., :2], ray[..., :2], size[:, 0])
    on_side = jnp.abs(point[..., 2] + side * ray[..., 2]) <= size[:, 1]
    crossings, valid = [side], [on_side]
    for end in (-1.0, 1.0):
        center = end * size[:, 1:2] * jnp.array([0.0, 0.0, 1.0])
        cap = _roots(point - center, ray, size[:, 0])
        crossings.append(cap)
        valid.append(end * (point[..., 2] + cap * ray[..., 2]) >= size[:, 1])
    return _first(jnp.concatenate(crossings), jnp.concatenate(valid))


def _meet_cylinder(size: Array, point: Array, ray: Array) -> Array:
    side = _roots(point[..., :2], ray[..., :2], size[:, 0])
    on_side = jnp.abs(point[..., 2] + side * ray[..., 2]) <= size[:, 1]
    ends = jnp.stack([size[:, 1], -size[:, 1]])[:, None]
    lid = _divide(ends - point[..., 2], ray[..., 2])
    at = point[..., :2] + lid[..., None] * ray[..., :2]
    on_lid = (at * at).sum(-1) <= size[:, 0] ** 2
    return _first(jnp.concatenate([side, lid]), jnp.concatenate([on_side, on_lid]))


def _meet_box(size: Array, point: Array, ray: Array) -> Array:
    faces = jnp.stack([size, -size])[:, None]
    distance = _divide(faces - point, ray)  # [2, rays, shapes, axes]
    at = point[..., None, :] + distance[..., None] * ray[..., None, :]
    inside = (jnp.abs(at) <= size[:, None, :]) | jnp.eye(3, dtype=bool)
    distance, inside = (jnp.moveaxis(x, -1, 0) for x in (distance, inside.all(-1)))
    return _first(distance.reshape(6, *distance.shape[2:]), inside.reshape(6, *inside.shape[2:]))


_MEET = {
    _PLANE: _meet_plane,
    _SPHERE: _meet_sphere,
    _CAPSULE: _meet_capsule,
    _CYLINDER: _meet_cylinder,
    _BOX: _meet_box,
}


def _normal(kind: Array, size: Array, at: Array) -> Array:
    """Outward unit normal `[3]` of one shape at a point `[3]` of its surface, in its frame."""
    axis = jnp.eye(3)
    along = at[2] * axis[2]
    from_core = at - jnp.clip(at[2], -size[1], size[1]) * axis[2]
    radial = at - along
    on_lid = jnp.abs(jnp.abs(at[2]) - size[1]) < jnp.abs(jnp.linalg.norm(radial) - size[0])
    face = axis[jnp.abs(jnp.abs(at) - size).argmin()]
    outward = jnp.select(
        [kind == _PLANE, kind == _SPHERE, kind == _CAPSULE, kind == _CYLINDER],
        [axis[2], at, from_core, jnp.where(on_lid, along, radial)],
        jnp.sign(at) * face,
    )
    return outward / jnp.maximum(jnp.linalg.norm(outward), 1e-12)
