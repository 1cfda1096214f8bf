"""Images by ray casting: the same arithmetic on every engine, and no display needed."""

from __future__ import annotations

import jax.numpy as jnp
import mujoco
import numpy as np

from behavior_priors.envs.physics.base import Physics, PhysicsState
from behavior_priors.types import Array

_LIGHT = np.array([0.35, -0.45, 0.82], np.float32)
_LIGHT = _LIGHT / np.linalg.norm(_LIGHT)
_AMBIENT = 0.42
_SHADOW = 0.55
_ODD_SQUARE = 0.8
_POINTER = np.array([214, 39, 40])
_SKY = np.array([[0.93, 0.95, 0.97], [0.70, 0.76, 0.83]], np.float32)  # at the bottom and the top


def camera_rays(
    model: mujoco.MjModel, camera: str, width: int, height: int
) -> tuple[np.ndarray, np.ndarray]:
    """One ray a pixel, row by row from the top left.

    Args:
      model: a `mujoco.MjModel` with a camera of that name, fixed or moving along with a body.
      camera: the camera's name.
      width: pixels.
      height: pixels.

    Returns:
      The camera's position `[3]` and unit directions `[height * width, 3]`, in the world's frame,
      where the body is where the model has it.
    """
    place, axes, half = _camera(model, camera)
    x = (np.arange(width) + 0.5) / height * 2 - width / height
    y = 1 - (np.arange(height) + 0.5) / height * 2
    grid = np.stack(np.broadcast_arrays(x[None] * half, y[:, None] * half, -1.0), axis=-1)
    directions = grid.reshape(-1, 3) @ axes.T
    directions /= np.linalg.norm(directions, axis=-1, keepdims=True)
    return place.astype(np.float32), directions.astype(np.float32)


def _camera(model: mujoco.MjModel, camera: str) -> tuple[np.ndarray, np.ndarray, float]:
    """Position of a camera `[3]`, its axes (right, up, back), half of what it sees at a metre."""
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    placed = data.camera(camera)
    half = np.tan(np.deg2rad(model.camera(camera).fovy[0]) / 2)
    return placed.xpos, placed.xmat.reshape(3, 3), float(half)


def point_down(image: Array, model: mujoco.MjModel, camera: str, place: Array) -> Array:
    """The image of a camera with an arrow head, whose tip is at a place, in front of everything.

    Args:
      image: `[height, width, 3]` uint8, of `render_scene`.
      model: that the camera is of.
      camera: the camera's name.
      place: `[3]`, in the world's frame.
    """
    height, width = image.shape[:2]
    origin, axes, half = _camera(model, camera)
    right, up, back = (place - jnp.asarray(origin, jnp.float32)) @ jnp.asarray(axes, jnp.float32)
    focal = height / 2 / half
    column = width / 2 + focal * right / -back
    row = height / 2 - focal * up / -back
    size = height / 16

    def head(margin: float) -> Array:
        above = row + margin - (jnp.arange(height, dtype=jnp.float32)[:, None] + 0.5)
        beside = jnp.abs(jnp.arange(width, dtype=jnp.float32)[None] + 0.5 - column)
        inside = (above >= 0) & (above <= size + 2 * margin) & (beside <= 0.6 * above)
        return inside & (back < 0)  # in front of the camera

    white, color = jnp.asarray([255, 255, 255], jnp.uint8), jnp.asarray(_POINTER, jnp.uint8)
    image = jnp.where(head(height / 120)[..., None], white, image)
    return jnp.where(head(0.0)[..., None], color, image)


def render_scene(
    physics: Physics,
    state: PhysicsState,
    scene: Array,
    camera: str,
    *,
    width: int,
    height: int,
    shift: Array | None = None,
    squares: float | None = None,
) -> Array:
    """What a camera sees: colours, Lambert's light, one shadow ray a pixel.

    Args:
      physics: the scenes' table.
      state: one simulation.
      scene: `[]`, its scene.
      camera: the camera's name.
      width: pixels.
      height: pixels.
      shift: `[3]`, metres by which the camera has moved along with a body.
      squares: metres, of squares on planes, by which motion shows.

    Returns:
      An image `[height, width, 3]`, uint8.
    """
    place, directions = camera_rays(physics.models[0], camera, width, height)
    origin = jnp.asarray(place) + (0.0 if shift is None else shift)
    colors = jnp.asarray(np.stack([m.geom_rgba[:, :3] for m in physics.models]), jnp.float32)
    origins = jnp.broadcast_to(origin, directions.shape)
    hits = physics.ray(state, scene, origins, jnp.asarray(directions))
    hit = hits.geom >= 0
    facing = -jnp.sign(jnp.sum(hits.normal * directions, axis=-1, keepdims=True))
    normal = hits.normal * facing
    lambert = jnp.clip(normal @ _LIGHT, 0.0, 1.0)

    point = origin + hits.distance[:, None] * directions + 1e-4 * normal
    to_light = jnp.broadcast_to(jnp.asarray(_LIGHT), point.shape)
    shadowed = physics.ray(state, scene, point, to_light).geom >= 0
    light = _AMBIENT + (1.0 - _AMBIENT) * lambert * jnp.where(shadowed, 1.0 - _SHADOW, 1.0)

    if squares is not None:
        flat = jnp.asarray(physics.models[0].geom_type == mujoco.mjtGeom.mjGEOM_PLANE)[hits.geom]
        odd = jnp.floor(point[:, :2] / squares).sum(axis=-1) % 2 == 1
        light = light * jnp.where(flat & odd, _ODD_SQUARE, 1.0)
    surface = colors[scene][hits.geom] * light[:, None]
    up = jnp.clip(0.5 + directions[:, 2:], 0.0, 1.0)
    image = jnp.where(hit[:, None], surface, _SKY[0] + (_SKY[1] - _SKY[0]) * up)
    return (255.0 * jnp.clip(image, 0.0, 1.0)).astype(jnp.uint8).reshape(height, width, 3)
