"""Ways of putting primitives together: each is a function from sizes to shapes.

A composition's frame has its origin on the table below it and its y axis across the narrow side,
where fingers go.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np

Vector = tuple[float, float, float]
Quaternion = tuple[float, float, float, float]

IDENTITY: Quaternion = (1.0, 0.0, 0.0, 0.0)


class Primitive(NamedTuple):
    """One shape in its object's frame.

    `size` is a box's half extents, a sphere's (radius, 0, 0), a capsule's or cylinder's (radius,
    half length, 0) along its own z axis. Cylinders may only be seen.
    """

    kind: Literal["box", "sphere", "capsule", "cylinder"]
    size: Vector
    position: Vector
    orientation: Quaternion = IDENTITY


class Draft(NamedTuple):
    """A composition with numbers, in a frame whose origin is on the table."""

    colliding: Sequence[Primitive]
    grasp: Vector
    visible: Sequence[Primitive] = ()


def box(x: float, y: float, z: float, at: Vector, orientation: Quaternion = IDENTITY) -> Primitive:
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


def turned(angle: float, axis: str) -> Quaternion:
    """The rotation by `angle` radians about an axis."""
    c, s = float(np.cos(angle / 2)), float(np.sin(angle / 2))
    return {"x": (c, s, 0.0, 0.0), "y": (c, 0.0, s, 0.0), "z": (c, 0.0, 0.0, s)}[axis]


# One function a composition: `w` is the width across the grasp, `d` the depth along x, `h` the
# height, in metres.


def block(w: float, d: float, h: float) -> Draft:
    """A block."""
    return Draft([box(d, w, h, (0, 0, 0))], (0, 0, h / 2))


def bottle(w: float, d: float, h: float) -> Draft:
    """A body with a neck on it."""
    body, neck = 0.6 * h, 0.4 * h
    return Draft(
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


def bowl(w: float, d: float, h: float) -> Draft:
    """A foot under a wider rim."""
    return Draft(
        [box(0.6 * w, 0.6 * w, 0.5 * h, (0, 0, 0)), box(w, w, 0.5 * h, (0, 0, 0.5 * h))],
        (0, 0, 0.6 * h),
        [
            rod(0.32 * w, 0.3 * h, (0, 0, 0.15 * h), "z", "cylinder"),
            rod(0.45 * w, 0.3 * h, (0, 0, 0.45 * h), "z", "cylinder"),
            rod(0.52 * w, 0.4 * h, (0, 0, 0.8 * h), "z", "cylinder"),
        ],
    )


def bun(w: float, d: float, h: float) -> Draft:
    """A round top on a flat bottom."""
    return Draft(
        [box(d, w, 0.4 * h, (0, 0, 0)), rod(w / 2, max(d - w, 0.004), (0, 0, 0.5 * h))],
        (0, 0, 0.5 * h),
    )


def hammer(w: float, d: float, h: float) -> Draft:
    """A handle with a head across its end."""
    return Draft(
        [box(d, w, h, (0, 0, 0)), box(1.2 * h, 2.4 * w, 1.2 * h, (d / 2 + 0.6 * h, 0, 0))],
        (0.15 * d, 0, 0.6 * h),
    )


def stool(w: float, d: float, h: float) -> Draft:
    """A seat on a narrower foot."""
    leg = 0.7 * h
    return Draft(
        [box(0.75 * d, 0.5 * w, leg, (0, 0, 0)), box(d, w, h - leg, (0, 0, leg))],
        (0, 0, 0.75 * h),
        [
            box(d, w, h - leg, (0, 0, leg)),
            *(
                box(0.01, 0.01, leg, (sx * 0.35 * d, sy * 0.35 * w, 0))
                for sx, sy in itertools.product((-1, 1), (-1, 1))
            ),
        ],
    )


def tee(w: float, d: float, h: float) -> Draft:
    """Two bars that meet in a T, lying flat."""
    return Draft(
        [box(d, w, h, (0, 0, 0)), box(w, 0.9 * d, h, (d / 2 + w / 2, 0, 0))], (0, 0, 0.6 * h)
    )


def ell(w: float, d: float, h: float) -> Draft:
    """Two bars that meet in an L, lying flat."""
    return Draft(
        [box(d, w, h, (0, 0, 0)), box(w, 0.6 * d, h, (d / 2 + w / 2, 0.3 * d - w / 2, 0))],
        (0, 0, 0.6 * h),
    )


def lamp(w: float, d: float, h: float) -> Draft:
    """A shade on a pole on a foot."""
    foot = 0.012
    return Draft(
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


def arch(w: float, d: float, h: float) -> Draft:
    """A beam on two pillars."""
    return Draft(
        [
            box(0.25 * d, w, 0.75 * h, (-0.375 * d, 0, 0)),
            box(0.25 * d, w, 0.75 * h, (0.375 * d, 0, 0)),
            rod(0.4 * w, 0.6 * d, (0, 0, 0.75 * h)),
        ],
        (0, 0, 0.75 * h),
    )


def car(w: float, d: float, h: float) -> Draft:
    """A cabin on a longer body."""
    return Draft(
        [box(d, w, 0.55 * h, (0, 0, 0)), box(0.5 * d, 0.8 * w, 0.45 * h, (-0.08 * d, 0, 0.55 * h))],
        (0, 0, 0.45 * h),
        [
            box(d, 0.92 * w, 0.45 * h, (0, 0, 0.1 * h)),
            box(0.5 * d, 0.8 * w, 0.45 * h, (-0.08 * d, 0, 0.55 * h)),
            *(
                rod(0.16 * h + 0.002, w, (sx * 0.3 * d, 0, 0.17 * h), "y", "cylinder")
                for sx in (-1, 1)
            ),
        ],
    )


def boat(w: float, d: float, h: float) -> Draft:
    """A mast on a flat hull."""
    return Draft(
        [box(d, w, 0.4 * h, (0, 0, 0)), rod(0.1 * w, 0.5 * h, (0.15 * d, 0, 0.68 * h), "z")],
        (-0.1 * d, 0, 0.25 * h),
    )


def snowman(w: float, d: float, h: float) -> Draft:
    """A ball on a body."""
    head = 0.42 * w
    return Draft(
        [box(0.9 * w, 0.9 * w, h - 2 * head, (0, 0, 0)), sphere(head, (0, 0, h - head))],
        (0, 0, 0.45 * h),
    )


def cross(w: float, d: float, h: float) -> Draft:
    """Two bars that cross, lying flat."""
    return Draft([box(d, w, h, (0, 0, 0)), box(w, d, h, (0.2 * d, 0, 0))], (-0.25 * d, 0, 0.6 * h))


def mug(w: float, d: float, h: float) -> Draft:
    """A body with a handle beside it."""
    return Draft(
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


def cap(w: float, d: float, h: float) -> Draft:
    """A dome on a brim that reaches forward."""
    return Draft(
        [box(1.9 * w, w, 0.2 * h, (0.35 * w, 0, 0)), sphere(0.5 * w, (0, 0, 0.5 * w))],
        (0, 0, 0.5 * w),
    )


def chair(w: float, d: float, h: float) -> Draft:
    """A seat with a back behind it."""
    seat = 0.45 * h
    return Draft(
        [box(d, w, seat, (0, 0, 0)), box(0.18 * d, w, h - seat, (-0.41 * d, 0, seat))],
        (-0.1 * d, 0, 0.5 * seat),
        [
            box(d, w, 0.15 * h, (0, 0, seat - 0.15 * h)),
            box(0.18 * d, w, h - seat, (-0.41 * d, 0, seat)),
            *(
                box(0.009, 0.009, seat, (sx * 0.4 * d, sy * 0.4 * w, 0))
                for sx, sy in itertools.product((-1, 1), (-1, 1))
            ),
        ],
    )


def vase(w: float, d: float, h: float) -> Draft:
    """A body with a handle on either side."""
    return Draft(
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


def can(w: float, d: float, h: float) -> Draft:
    """A body with a small bow on its lid."""
    return Draft(
        [box(0.9 * w, 0.9 * w, 0.85 * h, (0, 0, 0)), rod(0.1 * w, 0.5 * w, (0, 0, 0.95 * h), "x")],
        (0, 0, 0.5 * h),
        [
            rod(0.46 * w, 0.8 * h, (0, 0, 0.4 * h), "z", "cylinder"),
            rod(0.5 * w, 0.06 * h, (0, 0, 0.83 * h), "z", "cylinder"),
            rod(0.1 * w, 0.5 * w, (0, 0, 0.95 * h), "x"),
        ],
    )


def sculpture(w: float, d: float, h: float) -> Draft:
    """A ball on a turned block on a foot."""
    return Draft(
        [
            box(1.2 * w, 1.1 * w, 0.2 * h, (0, 0, 0)),
            box(0.6 * w, 0.6 * w, 0.5 * h, (0, 0, 0.2 * h), turned(np.pi / 4, "z")),
            sphere(0.4 * w, (0, 0, 0.7 * h + 0.3 * w)),
        ],
        (0, 0, 0.5 * h),
    )


def bar(w: float, d: float, h: float) -> Draft:
    """A long bar with a knob on one side."""
    return Draft(
        [box(d, w, w, (0, 0, 0)), sphere(0.62 * w, (0.25 * d, 0, w))],
        (-0.02 * d, 0, 0.55 * w),
    )


def house(w: float, d: float, h: float) -> Draft:
    """A block under a roof."""
    side = 0.62 * w
    roof = Primitive("box", (d / 2, side / 2, side / 2), (0, 0, 0.6 * h), turned(np.pi / 4, "x"))
    return Draft([box(d, 0.85 * w, 0.6 * h, (0, 0, 0)), roof], (0, 0, 0.45 * h))


def dumbbell(w: float, d: float, h: float) -> Draft:
    """Two blocks joined by a rod."""
    return Draft(
        [
            box(0.28 * d, w, w, (-0.36 * d, 0, 0)),
            box(0.28 * d, w, w, (0.36 * d, 0, 0)),
            rod(0.3 * w, 0.6 * d, (0, 0, 0.5 * w)),
        ],
        (0, 0, 0.5 * w),
    )


def teapot(w: float, d: float, h: float) -> Draft:
    """A body with a spout beside it and a knob on top."""
    return Draft(
        [
            box(w, 0.95 * w, 0.75 * h, (0, 0, 0)),
            box(0.6 * w, 0.25 * w, 0.25 * h, (0.75 * w, 0, 0.4 * h)),
            sphere(0.2 * w, (0, 0, 0.75 * h + 0.15 * w)),
        ],
        (0, 0, 0.45 * h),
    )


def pan(w: float, d: float, h: float) -> Draft:
    """A flat pan with a round handle."""
    return Draft(
        [
            box(1.3 * w, 1.3 * w, h, (0.9 * w + 0.3 * d, 0, 0)),
            rod(0.3 * w, 0.8 * d, (0, 0, 0.6 * h)),
        ],
        (0.3 * d, 0, 0.6 * h),
    )
