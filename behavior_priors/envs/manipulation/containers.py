"""Things to put objects in or on, as data: boxes that are fixed to the table.

A container's frame lies on the table under its middle. What is hollow is a floor and four walls;
what is solid is a block, and its floor is its top. Several share a way of being put together; no
container is another one at another scale.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

from behavior_priors.envs.manipulation.objects import Split
from behavior_priors.envs.manipulation.primitives import Primitive, Vector, box, rod, turned

MAX_BOXES = 5
"""Boxes of a container that collide; every scene has as many."""


class Container(NamedTuple):
    """A container.

    Attributes:
      name: such as `tray`.
      split: which experiments may know it.
      colliding: boxes, at most `MAX_BOXES`.
      visible: what is seen beside them.
      floor: height of the surface that objects come to lie on, metres.
      rim: height of the walls' upper edge above the table, metres; the floor's where there is none.
      inner: half extents of the surface along x and y, metres.
      radius: of the vertical cylinder that holds it, metres.
      rgb: its colour.
    """

    name: str
    split: Split
    colliding: tuple[Primitive, ...]
    visible: tuple[Primitive, ...]
    floor: float
    rim: float
    inner: tuple[float, float]
    radius: float
    rgb: Vector


class _Shape(NamedTuple):
    """Width along x, depth along y, height of the rim; the walls' thickness; the floor's height."""

    x: float
    y: float
    rim: float
    wall: float = 0.006
    floor: float = 0.006


def _walls(s: _Shape, lean: float = 0.0) -> list[Primitive]:
    """Four walls on the floor's edge, leaning outwards by an angle."""
    middle = (s.rim + s.floor) / 2
    height = s.rim - s.floor
    out = math.sin(lean) * height / 2
    walls = []
    for sign in (-1, 1):
        at_x = sign * (s.x / 2 - s.wall / 2 + out)
        at_y = sign * (s.y / 2 - s.wall / 2 + out)
        base = middle - height / 2
        walls.append(box(s.wall, s.y, height, (at_x, 0, base), turned(sign * lean, "y")))
        walls.append(box(s.x, s.wall, height, (0, at_y, base), turned(-sign * lean, "x")))
    return walls


def _hollow(s: _Shape, lean: float = 0.0) -> list[Primitive]:
    return [box(s.x, s.y, s.floor, (0, 0, 0)), *_walls(s, lean)]


def _solid(s: _Shape) -> list[Primitive]:
    return [box(s.x, s.y, s.rim, (0, 0, 0))]


def _table(s: _Shape) -> list[Primitive]:
    """A top on four legs."""
    legs = [
        box(0.012, 0.012, s.rim - s.wall, (i * (s.x / 2 - 0.01), j * (s.y / 2 - 0.01), 0))
        for i in (-1, 1)
        for j in (-1, 1)
    ]
    return [box(s.x, s.y, s.wall, (0, 0, s.rim - s.wall)), *legs]


def _steps(s: _Shape) -> list[Primitive]:
    """A slab on a larger slab."""
    return [
        box(s.x, s.y, s.rim / 2, (0, 0, s.rim / 2)),
        box(s.x + 0.03, s.y + 0.03, s.rim / 2, (0, 0, 0)),
    ]


_SOLID = (_solid, _table, _steps)

_Recipe = tuple[Callable[[_Shape], list[Primitive]], _Shape]

# name: (how it is put together, its numbers), in metres
_TRAIN: dict[str, _Recipe] = {
    "plate": (lambda s: _hollow(s, lean=0.9), _Shape(0.110, 0.110, 0.014)),
    "bowl": (lambda s: _hollow(s, lean=0.4), _Shape(0.105, 0.105, 0.036)),
    "tray": (_hollow, _Shape(0.150, 0.120, 0.018)),
    "box": (_hollow, _Shape(0.130, 0.130, 0.042)),
    "crate": (_hollow, _Shape(0.150, 0.150, 0.040, wall=0.018, floor=0.016)),
    "ring": (_walls, _Shape(0.130, 0.130, 0.020, wall=0.014, floor=0.0)),
    "cube": (_solid, _Shape(0.100, 0.100, 0.050)),
    "table": (_table, _Shape(0.125, 0.125, 0.060, wall=0.010)),
}
_VALIDATION: dict[str, _Recipe] = {
    "drawer": (_hollow, _Shape(0.120, 0.140, 0.032, floor=0.012)),
}
_TEST: dict[str, _Recipe] = {
    "pan": (lambda s: _hollow(s, lean=0.2), _Shape(0.120, 0.120, 0.024)),
    "basket": (lambda s: _hollow(s, lean=-0.1), _Shape(0.125, 0.125, 0.055)),
    "pedestal": (_steps, _Shape(0.105, 0.105, 0.036)),
    "board": (_solid, _Shape(0.140, 0.140, 0.008)),
}
_DECORATION: dict[str, list[Primitive]] = {
    "pan": [rod(0.008, 0.09, (0.105, 0, 0.018), "x", "cylinder")],
    "basket": [
        box(0.006, 0.006, 0.060, (0, -0.055, 0.055)),
        box(0.006, 0.006, 0.060, (0, 0.055, 0.055)),
        box(0.006, 0.116, 0.006, (0, 0, 0.115)),
    ],
    "board": [
        box(0.034, 0.034, 0.001, (x, y, 0.008))
        for x, y in ((-0.0525, -0.0525), (0.0175, -0.0525), (-0.0175, 0.0175), (0.0525, 0.0175))
    ],
}
_COLORS = (
    (0.55, 0.60, 0.66),
    (0.46, 0.62, 0.60),
    (0.70, 0.56, 0.42),
    (0.62, 0.52, 0.60),
)


def _finish(name: str, split: Split, recipe: _Recipe, color: int) -> Container:
    build, shape = recipe
    boxes = tuple(build(shape))
    solid = build in _SOLID
    thickness = 0.0 if solid else 2 * shape.wall
    reach = [
        math.hypot(abs(p.position[0]) + p.size[0], abs(p.position[1]) + p.size[1]) for p in boxes
    ]
    return Container(
        name=name,
        split=split,
        colliding=boxes,
        visible=(*boxes, *_DECORATION.get(name, ())),
        floor=shape.rim if solid else shape.floor,
        rim=shape.rim,
        inner=((shape.x - thickness) / 2, (shape.y - thickness) / 2),
        radius=max(reach),
        rgb=_COLORS[color % len(_COLORS)],
    )


def _catalogue() -> dict[str, Container]:
    tables: dict[Split, dict[str, _Recipe]] = {
        "train": _TRAIN,
        "validation": _VALIDATION,
        "test": _TEST,
    }
    containers: dict[str, Container] = {}
    for split, table in tables.items():
        for name, recipe in table.items():
            containers[name] = _finish(name, split, recipe, len(containers))
    return containers


CONTAINERS: dict[str, Container] = _catalogue()
"""Every container by name, in a fixed order."""


def container_names(split: Split) -> tuple[str, ...]:
    """The names of a split's containers, in a fixed order."""
    return tuple(c.name for c in CONTAINERS.values() if c.split == split)
