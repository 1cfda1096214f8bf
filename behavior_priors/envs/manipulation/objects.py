"""Things to pick up, as data: compositions of primitives, in metres.

A *composition* is a way of putting primitives together (a mug is a body with a handle beside it); an
*object* is a composition with numbers. Training, validation and test objects share no composition,
so that a test object is new and not a known one at another scale.

An object's frame sits where it is best held, its y axis across the narrow side: a gripper that
comes down on the origin with its fingers along y grasps it. At most two boxes and one round
primitive (sphere or capsule) collide; any number may only be seen.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import numpy as np

from behavior_priors.types import UserError

Vector = tuple[float, float, float]
Split = Literal["train", "validation", "test"]

IDENTITY = (1.0, 0.0, 0.0, 0.0)
DENSITY = 350.0  # kg/m^3, of a hollow household thing


class Primitive(NamedTuple):
    """One shape in its object's frame.

    `size` is a box's half extents, a sphere's (radius, 0, 0), a capsule's or cylinder's (radius,
    half length, 0) along its own z axis. Cylinders may only be seen.
    """

    kind: Literal["box", "sphere", "capsule", "cylinder"]
    size: Vector
    position: Vector
    orientation: tuple[float, float, float, float] = IDENTITY


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


class _Draft(NamedTuple):
    """A composition with numbers, in a frame whose origin is on the table."""

    colliding: Sequence[Primitive]
    grasp: Vector
    visible: Sequence[Primitive] = ()


def box(x: float, y: float, z: float, at: Vector, orientation: tuple = IDENTITY) -> Primitive:
    """A box of the given full lengths whose lowest face is centred at `at` when upright."""
    return Primitive("box", (x / 2, y / 2, z / 2), (at[0], at[1], at[2] + z / 2), orientation)


def sphere(radius: float, at: Vector) -> Primitive:
    """A sphere centred at `at`."""
    return Primitive("sphere", (radius, 0.0, 0.0), at)


def rod(
    radius: float, length: float, at: Vector, axis: str = "x", kind: str = "capsule"
) -> Primitive:
    """A capsule or cylinder centred at `at` along an axis; `length` leaves out a capsule's caps."""
    half = np.sqrt(0.5)
    orientation = {"x": (half, 0.0, half, 0.0), "y": (half, half, 0.0, 0.0), "z": IDENTITY}[axis]
    return Primitive(kind, (radius, length / 2, 0.0), at, orientation)  # type: ignore[arg-type]


def _turned(angle: float, axis: str) -> tuple[float, float, float, float]:
    c, s = float(np.cos(angle / 2)), float(np.sin(angle / 2))
    return {"x": (c, s, 0.0, 0.0), "y": (c, 0.0, s, 0.0), "z": (c, 0.0, 0.0, s)}[axis]


# One function a composition. `w` is the width across the grasp, `l` the length along x, `h` the height.


def _block(w: float, l: float, h: float) -> _Draft:
    return _Draft([box(l, w, h, (0, 0, 0))], (0, 0, h / 2))


def _bottle(w: float, l: float, h: float) -> _Draft:
    body, neck = 0.6 * h, 0.4 * h
    return _Draft(
        [
            box(0.9 * w, 0.9 * w, body, (0, 0, 0)),
            rod(0.22 * w, neck - 0.22 * w, (0, 0, body + neck / 2 - 0.11 * w), "z"),
        ],
        (0, 0, 0.35 * h),
        [
            rod(0.5 * w, body, (0, 0, body / 2), "z", "cylinder"),
            rod(0.22 * w, neck, (0, 0, body + neck / 2), "z", "cylinder"),
            rod(0.28 * w, 0.008, (0, 0, h), "z", "cylinder"),
        ],
    )


def _bowl(w: float, l: float, h: float) -> _Draft:
    return _Draft(
        [box(0.6 * w, 0.6 * w, 0.5 * h, (0, 0, 0)), box(w, w, 0.5 * h, (0, 0, 0.5 * h))],
        (0, 0, 0.6 * h),
        [
            rod(0.32 * w, 0.3 * h, (0, 0, 0.15 * h), "z", "cylinder"),
            rod(0.45 * w, 0.3 * h, (0, 0, 0.45 * h), "z", "cylinder"),
            rod(0.52 * w, 0.4 * h, (0, 0, 0.8 * h), "z", "cylinder"),
        ],
    )


def _bun(w: float, l: float, h: float) -> _Draft:
    return _Draft(
        [box(l, w, 0.4 * h, (0, 0, 0)), rod(w / 2, max(l - w, 0.004), (0, 0, 0.5 * h))],
        (0, 0, 0.5 * h),
    )


def _hammer(w: float, l: float, h: float) -> _Draft:
    return _Draft(
        [box(l, w, h, (0, 0, 0)), box(1.2 * h, 2.4 * w, 1.2 * h, (l / 2 + 0.6 * h, 0, 0))],
        (0.15 * l, 0, 0.6 * h),
    )


def _stool(w: float, l: float, h: float) -> _Draft:
    leg = 0.7 * h
    return _Draft(
        [box(0.75 * l, 0.5 * w, leg, (0, 0, 0)), box(l, w, h - leg, (0, 0, leg))],
        (0, 0, 0.75 * h),
        [
            box(l, w, h - leg, (0, 0, leg)),
            *(
                box(0.01, 0.01, leg, (sx * 0.35 * l, sy * 0.35 * w, 0))
                for sx, sy in itertools.product((-1, 1), (-1, 1))
            ),
        ],
    )


def _tee(w: float, l: float, h: float) -> _Draft:
    return _Draft(
        [box(l, w, h, (0, 0, 0)), box(w, 0.9 * l, h, (l / 2 + w / 2, 0, 0))], (0, 0, 0.6 * h)
    )


def _ell(w: float, l: float, h: float) -> _Draft:
    return _Draft(
        [box(l, w, h, (0, 0, 0)), box(w, 0.6 * l, h, (l / 2 + w / 2, 0.3 * l - w / 2, 0))],
        (0, 0, 0.6 * h),
    )


def _lamp(w: float, l: float, h: float) -> _Draft:
    foot = 0.012
    return _Draft(
        [
            box(1.3 * w, 1.3 * w, foot, (0, 0, 0)),
            rod(0.2 * w, 0.45 * h, (0, 0, 0.35 * h), "z"),
            box(w, w, 0.4 * h, (0, 0, 0.6 * h)),
        ],
        (0, 0, 0.72 * h),
        [
            rod(0.65 * w, foot, (0, 0, foot / 2), "z", "cylinder"),
            rod(0.15 * w, 0.6 * h, (0, 0, 0.3 * h), "z", "cylinder"),
            rod(0.55 * w, 0.4 * h, (0, 0, 0.8 * h), "z", "cylinder"),
        ],
    )


def _arch(w: float, l: float, h: float) -> _Draft:
    return _Draft(
        [
            box(0.25 * l, w, 0.75 * h, (-0.375 * l, 0, 0)),
            box(0.25 * l, w, 0.75 * h, (0.375 * l, 0, 0)),
            rod(0.4 * w, 0.6 * l, (0, 0, 0.75 * h)),
        ],
        (0, 0, 0.75 * h),
    )


def _car(w: float, l: float, h: float) -> _Draft:
    return _Draft(
        [box(l, w, 0.55 * h, (0, 0, 0)), box(0.5 * l, 0.8 * w, 0.45 * h, (-0.08 * l, 0, 0.55 * h))],
        (0, 0, 0.45 * h),
        [
            box(l, 0.92 * w, 0.45 * h, (0, 0, 0.1 * h)),
            box(0.5 * l, 0.8 * w, 0.45 * h, (-0.08 * l, 0, 0.55 * h)),
            *(
                rod(0.16 * h + 0.002, w, (sx * 0.3 * l, 0, 0.17 * h), "y", "cylinder")
                for sx in (-1, 1)
            ),
        ],
    )


def _boat(w: float, l: float, h: float) -> _Draft:
    return _Draft(
        [box(l, w, 0.4 * h, (0, 0, 0)), rod(0.1 * w, 0.5 * h, (0.15 * l, 0, 0.68 * h), "z")],
        (-0.1 * l, 0, 0.25 * h),
    )


def _snowman(w: float, l: float, h: float) -> _Draft:
    head = 0.42 * w
    return _Draft(
        [box(0.9 * w, 0.9 * w, h - 2 * head, (0, 0, 0)), sphere(head, (0, 0, h - head))],
        (0, 0, 0.45 * h),
    )


def _cross(w: float, l: float, h: float) -> _Draft:
    return _Draft([box(l, w, h, (0, 0, 0)), box(w, l, h, (0.2 * l, 0, 0))], (-0.25 * l, 0, 0.6 * h))


def _mug(w: float, l: float, h: float) -> _Draft:
    return _Draft(
        [
            box(0.9 * w, 0.9 * w, h, (0, 0, 0)),
            box(0.5 * w, 0.22 * w, 0.5 * h, (0.7 * w, 0, 0.25 * h)),
        ],
        (0, 0, 0.55 * h),
        [
            rod(0.5 * w, h, (0, 0, h / 2), "z", "cylinder"),
            box(0.4 * w, 0.2 * w, 0.12 * h, (0.65 * w, 0, 0.25 * h)),
            box(0.4 * w, 0.2 * w, 0.12 * h, (0.65 * w, 0, 0.63 * h)),
            box(0.12 * w, 0.2 * w, 0.5 * h, (0.85 * w, 0, 0.25 * h)),
        ],
    )


def _cap(w: float, l: float, h: float) -> _Draft:
    return _Draft(
        [box(1.9 * w, w, 0.2 * h, (0.35 * w, 0, 0)), sphere(0.5 * w, (0, 0, 0.5 * w))],
        (0, 0, 0.5 * w),
    )


def _chair(w: float, l: float, h: float) -> _Draft:
    seat = 0.45 * h
    return _Draft(
        [box(l, w, seat, (0, 0, 0)), box(0.18 * l, w, h - seat, (-0.41 * l, 0, seat))],
        (-0.1 * l, 0, 0.5 * seat),
        [
            box(l, w, 0.15 * h, (0, 0, seat - 0.15 * h)),
            box(0.18 * l, w, h - seat, (-0.41 * l, 0, seat)),
            *(
                box(0.009, 0.009, seat, (sx * 0.4 * l, sy * 0.4 * w, 0))
                for sx, sy in itertools.product((-1, 1), (-1, 1))
            ),
        ],
    )


def _vase(w: float, l: float, h: float) -> _Draft:
    return _Draft(
        [box(0.9 * w, 0.9 * w, h, (0, 0, 0)), box(2.2 * w, 0.25 * w, 0.18 * h, (0, 0, 0.62 * h))],
        (0, 0, 0.45 * h),
        [
            rod(0.5 * w, 0.7 * h, (0, 0, 0.35 * h), "z", "cylinder"),
            rod(0.35 * w, 0.3 * h, (0, 0, 0.85 * h), "z", "cylinder"),
            box(2.2 * w, 0.22 * w, 0.08 * h, (0, 0, 0.72 * h)),
            box(0.2 * w, 0.22 * w, 0.3 * h, (1.0 * w, 0, 0.45 * h)),
            box(0.2 * w, 0.22 * w, 0.3 * h, (-1.0 * w, 0, 0.45 * h)),
        ],
    )


def _can(w: float, l: float, h: float) -> _Draft:
    return _Draft(
        [box(0.9 * w, 0.9 * w, 0.85 * h, (0, 0, 0)), rod(0.1 * w, 0.5 * w, (0, 0, 0.95 * h), "x")],
        (0, 0, 0.5 * h),
        [
            rod(0.46 * w, 0.8 * h, (0, 0, 0.4 * h), "z", "cylinder"),
            rod(0.5 * w, 0.06 * h, (0, 0, 0.83 * h), "z", "cylinder"),
            rod(0.1 * w, 0.5 * w, (0, 0, 0.95 * h), "x"),
        ],
    )


def _sculpture(w: float, l: float, h: float) -> _Draft:
    return _Draft(
        [
            box(1.2 * w, 1.1 * w, 0.2 * h, (0, 0, 0)),
            box(0.6 * w, 0.6 * w, 0.5 * h, (0, 0, 0.2 * h), _turned(np.pi / 4, "z")),
            sphere(0.4 * w, (0, 0, 0.7 * h + 0.3 * w)),
        ],
        (0, 0, 0.5 * h),
    )


def _bar(w: float, l: float, h: float) -> _Draft:
    return _Draft(
        [box(l, w, w, (0, 0, 0)), sphere(0.62 * w, (0.25 * l, 0, w))],
        (-0.02 * l, 0, 0.55 * w),
    )


def _house(w: float, l: float, h: float) -> _Draft:
    side = 0.62 * w
    roof = Primitive("box", (l / 2, side / 2, side / 2), (0, 0, 0.6 * h), _turned(np.pi / 4, "x"))
    return _Draft([box(l, 0.85 * w, 0.6 * h, (0, 0, 0)), roof], (0, 0, 0.45 * h))


def _dumbbell(w: float, l: float, h: float) -> _Draft:
    return _Draft(
        [
            box(0.28 * l, w, w, (-0.36 * l, 0, 0)),
            box(0.28 * l, w, w, (0.36 * l, 0, 0)),
            rod(0.3 * w, 0.6 * l, (0, 0, 0.5 * w)),
        ],
        (0, 0, 0.5 * w),
    )


def _teapot(w: float, l: float, h: float) -> _Draft:
    return _Draft(
        [
            box(w, 0.95 * w, 0.75 * h, (0, 0, 0)),
            box(0.6 * w, 0.25 * w, 0.25 * h, (0.75 * w, 0, 0.4 * h)),
            sphere(0.2 * w, (0, 0, 0.75 * h + 0.15 * w)),
        ],
        (0, 0, 0.45 * h),
    )


def _pan(w: float, l: float, h: float) -> _Draft:
    return _Draft(
        [
            box(1.3 * w, 1.3 * w, h, (0.9 * w + 0.3 * l, 0, 0)),
            rod(0.3 * w, 0.8 * l, (0, 0, 0.6 * h)),
        ],
        (0.3 * l, 0, 0.6 * h),
    )


# composition: (how it is put together, width, length, height)
_TRAIN = {
    "block": (_block, 0.040, 0.060, 0.050),
    "bottle": (_bottle, 0.042, 0.042, 0.105),
    "bowl": (_bowl, 0.056, 0.056, 0.045),
    "bun": (_bun, 0.044, 0.070, 0.050),
    "hammer": (_hammer, 0.026, 0.100, 0.032),
    "stool": (_stool, 0.048, 0.056, 0.060),
    "tee": (_tee, 0.032, 0.070, 0.036),
    "ell": (_ell, 0.034, 0.075, 0.036),
    "lamp": (_lamp, 0.044, 0.044, 0.095),
    "arch": (_arch, 0.040, 0.085, 0.060),
    "car": (_car, 0.044, 0.090, 0.048),
    "boat": (_boat, 0.040, 0.090, 0.070),
    "snowman": (_snowman, 0.046, 0.046, 0.080),
    "cross": (_cross, 0.030, 0.085, 0.036),
}
_VALIDATION = {
    "teapot": (_teapot, 0.046, 0.046, 0.055),
    "pan": (_pan, 0.036, 0.060, 0.030),
}
_TEST = {
    "mug": (_mug, 0.046, 0.046, 0.062),
    "cap": (_cap, 0.052, 0.052, 0.050),
    "chair": (_chair, 0.044, 0.054, 0.080),
    "vase": (_vase, 0.040, 0.040, 0.080),
    "can": (_can, 0.046, 0.046, 0.075),
    "sculpture": (_sculpture, 0.040, 0.040, 0.075),
    "bar": (_bar, 0.030, 0.105, 0.030),
    "house": (_house, 0.046, 0.060, 0.055),
    "dumbbell": (_dumbbell, 0.042, 0.095, 0.042),
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


def _finish(name: str, composition: str, split: Split, draft: _Draft, color: int) -> Object:
    """Moves the frame to the grasp point and measures the object."""

    def moved(primitives: Sequence[Primitive]) -> tuple[Primitive, ...]:
        return tuple(
            p._replace(position=tuple(float(a - b) for a, b in zip(p.position, draft.grasp)))
            for p in primitives
        )

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
    objects = []
    for composition, (build, w, l, h) in _TRAIN.items():
        for number, (fw, fl, fh) in enumerate(_VARIANTS, start=1):
            draft = build(w * fw, l * fl, h * fh)
            objects.append(
                _finish(f"{composition}_{number}", composition, "train", draft, len(objects))
            )
    for split, table in (("validation", _VALIDATION), ("test", _TEST)):
        for composition, (build, w, l, h) in table.items():
            objects.append(_finish(composition, composition, split, build(w, l, h), len(objects)))
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
