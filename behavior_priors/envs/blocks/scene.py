"""The scene as a MuJoCo model: a gripper, a strip of table and equal cubes, all in one plane.

A cube has three joints, two slides and a hinge, and not a free one: it cannot leave the plane or
turn out of it whatever pushes it, half as many degrees of freedom are simulated, and its pose is
three numbers. Contacts are listed pair by pair, so that their number is bounded and every engine
sees the same ones.
"""

from __future__ import annotations

import importlib.resources
import itertools

import mujoco

HALF = 0.04  # half a cube's edge, metres
FINGER_OPEN = 0.058  # of an open finger from the middle, metres
CAMERA_SLOPE = 0.12  # metres down for every metre ahead, as in the XML
DENSITY = 400.0  # of cubes, kg / m^3
GRIPPER_DOFS = 4  # along y, along z, two fingers; then come the cubes': along y, along z, about x

FINGERS = ("left_pad", "right_pad")
HAND = (*FINGERS, "palm")

_FRICTION = {"grip": (1.6, 1.6, 0.01, 0.0001, 0.0001), "table": (0.8, 0.8, 0.005, 0.0001, 0.0001)}
# stiffer than MuJoCo's own: what fingers squeeze would let them in by millimetres
_SOLREF = (0.015, 1.0)
_SOLIMP = (0.95, 0.99, 0.001, 0.5, 2.0)
_COLORS = (
    (0.26, 0.52, 0.96),
    (0.86, 0.27, 0.22),
    (0.96, 0.70, 0.10),
    (0.06, 0.62, 0.35),
    (0.60, 0.35, 0.75),
    (0.20, 0.70, 0.75),
    (0.95, 0.50, 0.60),
    (0.55, 0.60, 0.20),
    (0.45, 0.45, 0.50),
    (0.65, 0.42, 0.25),
    (0.92, 0.92, 0.88),
)


def _add_block(spec: mujoco.MjSpec, number: int) -> None:
    body = spec.worldbody.add_body(name=f"block_{number}")
    slide, hinge = mujoco.mjtJoint.mjJNT_SLIDE, mujoco.mjtJoint.mjJNT_HINGE
    body.add_joint(name=f"block_{number}_y", type=slide, axis=(0, 1, 0))
    body.add_joint(name=f"block_{number}_z", type=slide, axis=(0, 0, 1))
    body.add_joint(name=f"block_{number}_turn", type=hinge, axis=(1, 0, 0))
    body.add_geom(
        name=f"block_{number}",
        type=mujoco.mjtGeom.mjGEOM_BOX,
        size=(HALF, HALF, HALF),
        mass=DENSITY * (2 * HALF) ** 3,
        rgba=(*_COLORS[number % len(_COLORS)], 1.0),
    )


def _add_pair(spec: mujoco.MjSpec, first: str, second: str, friction: str) -> None:
    spec.add_pair(
        geomname1=first,
        geomname2=second,
        condim=3,
        friction=_FRICTION[friction],
        solref=_SOLREF,
        solimp=_SOLIMP,
    )


def build_model(blocks: int, half_length: float) -> mujoco.MjModel:
    """Compiles the model of a scene.

    Args:
      blocks: how many cubes there are.
      half_length: of the table, metres along y.

    Returns:
      A model whose configuration is the gripper's `[4]` and then every cube's `[3]`.
    """
    xml = importlib.resources.files(__package__) / "gripper.xml"
    spec = mujoco.MjSpec.from_string(xml.read_text())
    spec.geom("table").size[1] = half_length + 2 * HALF
    # from where it sees the whole strip
    distance = 0.4 + 2.0 * half_length
    spec.camera("front").pos = (distance, 0.0, 0.3 * half_length + 0.1 + CAMERA_SLOPE * distance)
    names = [f"block_{number}" for number in range(blocks)]
    for number in range(blocks):
        _add_block(spec, number)
    for finger in FINGERS:
        _add_pair(spec, "table", finger, "table")
    for name in names:
        _add_pair(spec, "table", name, "table")
        for hand in HAND:
            _add_pair(spec, hand, name, "grip")
    for one, other in itertools.combinations(names, 2):
        _add_pair(spec, one, other, "table")
    return spec.compile()
