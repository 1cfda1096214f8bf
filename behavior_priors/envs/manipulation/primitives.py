"""Boxes, spheres and rods, of which objects are made."""

from __future__ import annotations

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
