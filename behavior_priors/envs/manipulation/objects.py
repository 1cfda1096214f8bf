"""Things to pick up, as data: compositions with numbers, in metres.

A *composition* is a way of putting primitives together (a mug is a body with a handle beside it);
an *object* is a composition with numbers. Training, validation and test objects share no
composition, so that a test object is new and not a known one at another scale.

An object's frame sits where it is best held, its y axis across the narrow side: a gripper that
comes down on the origin with its fingers along y grasps it. At most two boxes and one round
primitive (sphere or capsule) collide; any number may only be seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from behavior_priors.envs.manipulation import compositions as c
from behavior_priors.envs.manipulation import held_out
from behavior_priors.envs.manipulation.primitives import Draft, Primitive, Vector
from behavior_priors.errors import UserError

Split = Literal["train", "validation", "test"]

DENSITY = 350.0  # kg/m^3, of a hollow household thing


class Object(NamedTuple):
    """An object at rest has its frame upright, `rest_height` above the table.

    Attributes:
      name: composition and number, such as `bottle_2`.
      composition: the name of the way in which it is put together.
      split: which experiments may know it.
      colliding: what touches other things; at most two boxes and one round primitive.
      visible: what is seen; the colliding primitives where empty.
      rest_height: of the origin above the table, metres.
      half_extents: of the axis-aligned box around the colliding primitives, metres.
      center: that box's centre in the object's frame, metres.
      radius: of the vertical cylinder about the origin that holds the object, metres.
      rgb: its colour.
    """

    name: str
    composition: str
    split: Split
    colliding: tuple[Primitive, ...]
    visible: tuple[Primitive, ...]
    rest_height: float
    half_extents: Vector
    center: Vector
    radius: float
    rgb: Vector


# composition: (how it is put together, width, depth, height), in metres
_TRAIN = {
    "block": (c.block, 0.040, 0.060, 0.050),
    "bottle": (c.bottle, 0.042, 0.042, 0.105),
    "bowl": (c.bowl, 0.056, 0.056, 0.045),
    "bun": (c.bun, 0.044, 0.070, 0.050),
    "hammer": (c.hammer, 0.026, 0.100, 0.032),
    "stool": (c.stool, 0.048, 0.056, 0.060),
    "tee": (c.tee, 0.032, 0.070, 0.036),
    "ell": (c.ell, 0.034, 0.075, 0.036),
    "lamp": (c.lamp, 0.044, 0.044, 0.095),
    "arch": (c.arch, 0.040, 0.085, 0.060),
    "car": (c.car, 0.044, 0.090, 0.048),
    "boat": (c.boat, 0.040, 0.090, 0.070),
    "snowman": (c.snowman, 0.046, 0.046, 0.080),
    "cross": (c.cross, 0.030, 0.085, 0.036),
}
_VALIDATION = {
    "teapot": (held_out.teapot, 0.062, 0.062, 0.034),
    "pan": (held_out.pan, 0.036, 0.060, 0.030),
}
_TEST = {
    "mug": (held_out.mug, 0.046, 0.046, 0.062),
    "cap": (held_out.cap, 0.052, 0.052, 0.050),
    "chair": (held_out.chair, 0.044, 0.075, 0.128),
    "vase": (held_out.vase, 0.034, 0.034, 0.132),
    "can": (held_out.can, 0.046, 0.046, 0.075),
    "sculpture": (held_out.sculpture, 0.046, 0.046, 0.134),
    "bar": (held_out.bar, 0.022, 0.105, 0.040),
    "house": (held_out.house, 0.046, 0.060, 0.055),
    "dumbbell": (held_out.dumbbell, 0.026, 0.095, 0.050),
}
_VARIANTS = ((0.85, 1.10, 0.90), (0.95, 0.90, 1.15), (1.05, 1.20, 1.00), (1.15, 0.95, 0.85))
_COLORS = (
    (0.84, 0.31, 0.25),
    (0.24, 0.52, 0.78),
    (0.95, 0.74, 0.25),
    (0.33, 0.63, 0.41),
    (0.58, 0.40, 0.70),
    (0.27, 0.66, 0.68),
    (0.88, 0.52, 0.62),
)


def extent(primitive: Primitive) -> np.ndarray:
    """Half lengths `[3]` of the axis-aligned box around a primitive."""
    w, x, y, z = primitive.orientation
    rotation = np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )
    radius, half_length, _ = primitive.size
    if primitive.kind == "box":
        return np.abs(rotation) @ np.array(primitive.size)
    if primitive.kind == "sphere":
        return np.full(3, radius)
    if primitive.kind == "capsule":
        return radius + half_length * np.abs(rotation[:, 2])
    return half_length * np.abs(rotation[:, 2]) + radius * np.sqrt(1 - rotation[:, 2] ** 2)


def _finish(name: str, composition: str, split: Split, draft: Draft, color: int) -> Object:
    """Moves the frame to the grasp point and measures the object."""

    def shift(position: Vector) -> Any:
        return tuple(float(a - b) for a, b in zip(position, draft.grasp, strict=True))

    def moved(primitives: Sequence[Primitive]) -> tuple[Primitive, ...]:
        return tuple(p._replace(position=shift(p.position)) for p in primitives)

    colliding = moved(draft.colliding)
    low = np.min([np.array(p.position) - extent(p) for p in colliding], axis=0)
    high = np.max([np.array(p.position) + extent(p) for p in colliding], axis=0)
    reach = [np.hypot(*(np.abs(p.position) + extent(p))[:2]) for p in colliding]
    return Object(
        name=name,
        composition=composition,
        split=split,
        colliding=colliding,
        visible=moved(draft.visible) or colliding,
        rest_height=float(-low[2]),
        half_extents=tuple(((high - low) / 2).tolist()),
        center=tuple(((high + low) / 2).tolist()),
        radius=float(max(reach)),
        rgb=_COLORS[color % len(_COLORS)],
    )


def _catalogue() -> dict[str, Object]:
    objects: list[Object] = []
    for composition, (build, w, d, h) in _TRAIN.items():
        for number, (fw, fd, fh) in enumerate(_VARIANTS, start=1):
            draft = build(w * fw, d * fd, h * fh)
            objects.append(
                _finish(f"{composition}_{number}", composition, "train", draft, len(objects))
            )
    held_out: dict[Split, dict] = {"validation": _VALIDATION, "test": _TEST}
    for split, table in held_out.items():
        for composition, (build, w, d, h) in table.items():
            objects.append(_finish(composition, composition, split, build(w, d, h), len(objects)))
    return {o.name: o for o in objects}


OBJECTS: dict[str, Object] = _catalogue()
"""Every object by name, in a fixed order."""


def names(split: Split) -> tuple[str, ...]:
    """The names of a split's objects, in a fixed order."""
    return tuple(o.name for o in OBJECTS.values() if o.split == split)


def find(name: str) -> Object:
    """The object of that name.

    Raises:
      UserError: there is none.
    """
    if name not in OBJECTS:
        raise UserError(f"no object is called {name!r}; there are: {', '.join(OBJECTS)}")
    return OBJECTS[name]
