"""Scenes as MuJoCo models: the arm, the table, objects in slots, and perhaps a container.

Scenes of as many slots have the same layout, whatever is in them: a slot is a free body with two
boxes and one capsule that collide, and a fixed number of shapes that are only seen; a container is
a fixed body of boxes. What an object or a container does not use is parked inside its first
primitive. Contacts are listed pair by pair, so that their number is bounded and every engine sees
the same ones.
"""

from __future__ import annotations

import importlib.resources
import itertools
from collections.abc import Sequence
from typing import Any

import mujoco

from behavior_priors.envs.manipulation.containers import MAX_BOXES, Container
from behavior_priors.envs.manipulation.objects import DENSITY, Object
from behavior_priors.envs.manipulation.primitives import Primitive
from behavior_priors.errors import UserError

ARM_DOFS = 6
FINGERS = ("left_pad", "right_pad")
HAND = (*FINGERS, "palm")
VISIBLE_PER_SLOT = 6
VISIBLE_PER_CONTAINER = 9

_TYPES = {
    "box": mujoco.mjtGeom.mjGEOM_BOX,
    "sphere": mujoco.mjtGeom.mjGEOM_SPHERE,
    "capsule": mujoco.mjtGeom.mjGEOM_CAPSULE,
    "cylinder": mujoco.mjtGeom.mjGEOM_CYLINDER,
}
_COLLIDING = ("box_0", "box_1", "round")
_PARKED = 0.001  # half size of an unused primitive, metres
_FRICTION = {"grip": (1.6, 1.6, 0.01, 0.0001, 0.0001), "table": (0.8, 0.8, 0.005, 0.0001, 0.0001)}


def _slot_primitives(item: Object) -> list[Primitive]:
    """The object's colliding primitives in the slot's order, parked ones included."""
    boxes = [p for p in item.colliding if p.kind == "box"]
    rounds = [p for p in item.colliding if p.kind in ("sphere", "capsule")]
    if not boxes or len(boxes) > 2 or len(rounds) > 1:
        raise UserError(
            f"object {item.name}: at most two boxes and one sphere or capsule may collide, "
            "and at least one box must"
        )
    park = boxes[0].position
    parked_box = Primitive("box", (_PARKED,) * 3, park)
    parked_round = Primitive("capsule", (_PARKED, _PARKED, 0.0), park)
    # a sphere is a capsule of no length: shape types are the same in every scene
    rounds = [
        p._replace(kind="capsule", size=(p.size[0], 1e-4, 0.0))
        for p in rounds
        if p.kind == "sphere"
    ] + [p for p in rounds if p.kind == "capsule"]
    return [*boxes, *[parked_box] * (2 - len(boxes)), *(rounds or [parked_round])]


def _volume(primitive: Primitive) -> float:
    a, b, c = primitive.size
    if primitive.kind == "box":
        return 8 * a * b * c
    return 3.14159 * a * a * (4 / 3 * a + 2 * b)


def _add_object(spec: mujoco.MjSpec, slot: int, item: Object) -> None:
    body = spec.worldbody.add_body(name=f"object_{slot}", pos=(0.3, 0.2 * (slot - 1), 0.3))
    body.add_freejoint(name=f"object_{slot}")
    for name, primitive in zip(_COLLIDING, _slot_primitives(item), strict=True):
        body.add_geom(
            name=f"object_{slot}_{name}",
            type=_TYPES[primitive.kind],
            size=primitive.size,
            pos=primitive.position,
            quat=primitive.orientation,
            mass=max(DENSITY * _volume(primitive), 1e-6),
            rgba=(*item.rgb, 1.0),
            group=3,
        )
    if len(item.visible) > VISIBLE_PER_SLOT:
        raise UserError(f"object {item.name}: at most {VISIBLE_PER_SLOT} shapes may be visible")
    _add_visible(body, f"object_{slot}", item, VISIBLE_PER_SLOT)


def _add_visible(body: Any, prefix: str, item: Object | Container, count: int) -> None:
    """Shapes that are only seen, always as many."""
    visible = [*item.visible, *[_parked_in(item)] * (count - len(item.visible))]
    for number, primitive in enumerate(visible):
        shade = 1.0 - 0.1 * (number % 3)
        body.add_geom(
            name=f"{prefix}_visible_{number}",
            type=_TYPES[primitive.kind],
            size=primitive.size,
            pos=primitive.position,
            quat=primitive.orientation,
            mass=0.0,
            rgba=(*(shade * c for c in item.rgb), 1.0),
            group=1,
        )


def _parked_in(item: Object | Container) -> Primitive:
    return Primitive("box", (_PARKED,) * 3, item.colliding[0].position)


def _add_container(spec: mujoco.MjSpec, item: Container, at: tuple[float, float]) -> list[str]:
    """A fixed body, and the names of what collides of it."""
    if len(item.colliding) > MAX_BOXES or len(item.visible) > VISIBLE_PER_CONTAINER:
        raise UserError(
            f"container {item.name}: at most {MAX_BOXES} boxes may collide, "
            f"and {VISIBLE_PER_CONTAINER} shapes be visible"
        )
    body = spec.worldbody.add_body(name="container", pos=(*at, 0.0))
    boxes = [*item.colliding, *[_parked_in(item)] * (MAX_BOXES - len(item.colliding))]
    names = []
    for number, primitive in enumerate(boxes):
        names.append(f"container_{number}")
        body.add_geom(
            name=names[-1],
            type=_TYPES[primitive.kind],
            size=primitive.size,
            pos=primitive.position,
            quat=primitive.orientation,
            group=3,
        )
    _add_visible(body, "container", item, VISIBLE_PER_CONTAINER)
    return names


def _add_pair(spec: mujoco.MjSpec, first: str, second: str, condim: int, friction: str) -> None:
    spec.add_pair(geomname1=first, geomname2=second, condim=condim, friction=_FRICTION[friction])


def build_model(
    items: Sequence[Object],
    container: Container | None = None,
    at: tuple[float, float] = (0.0, 0.0),
) -> mujoco.MjModel:
    """Compiles the model of a scene.

    Args:
      items: the object of each slot.
      container: what stands on the table, if anything.
      at: where it stands, metres.

    Returns:
      A model whose layout depends on the number of slots and on whether there is a container.

    Raises:
      UserError: an object that does not fit a slot, or a container with too many boxes.
    """
    arm = importlib.resources.files(__package__) / "arm.xml"
    spec = mujoco.MjSpec.from_string(arm.read_text())
    for slot, item in enumerate(items):
        _add_object(spec, slot, item)
    slots = [[f"object_{slot}_{name}" for name in _COLLIDING] for slot in range(len(items))]
    for hand in HAND:
        _add_pair(spec, "table", hand, 3, "table")
    for geom in itertools.chain(*slots):
        _add_pair(spec, "table", geom, 3, "table")
        for hand in HAND:
            _add_pair(spec, hand, geom, 4 if hand in FINGERS else 3, "grip")
    for one, other in itertools.combinations(slots, 2):
        for first, second in itertools.product(one, other):
            _add_pair(spec, first, second, 3, "table")
    if container is not None:
        for part in _add_container(spec, container, at):
            for hand in HAND:
                _add_pair(spec, part, hand, 3, "table")
            for geom in itertools.chain(*slots):
                _add_pair(spec, part, geom, 3, "table")
    return spec.compile()
