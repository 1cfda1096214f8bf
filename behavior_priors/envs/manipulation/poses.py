"""Where all bodies of a scene are, and whether the hand is near any: on the host, for reports."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import mujoco
import numpy as np

from behavior_priors.envs.manipulation import objects, scene
from behavior_priors.envs.manipulation.layouts import Layout, find_container


class Poses(NamedTuple):
    """A scene in one configuration.

    Attributes:
      position: `[bodies, 3]`, metres.
      rotation: `[bodies, 3, 3]`.
      hand_is_near: whether some part of the hand and something else are closer than asked for.
    """

    position: np.ndarray
    rotation: np.ndarray
    hand_is_near: bool


def make_find_poses(words: Sequence[str], near: float) -> Callable[[np.ndarray], Poses]:
    """Builds a function from a configuration `[nq]` to where everything is.

    Args:
      words: a scene as metadata has it, see `Layout.describe`; the place of a container is rounded
        to the millimetre there.
      near: metres.

    Raises:
      UserError: an unknown object or container.
    """
    *names, last = words
    container, _, at = last.partition(" at ")
    layout = Layout(tuple(words))
    if at:
        x, y = map(float, at.split())
        layout = Layout(tuple(names), container, (x, y))
    items = [objects.find(name) for name in layout.objects]
    model = scene.build_model(items, find_container(layout), layout.at)
    model.pair_margin[:] = near  # contacts begin that far apart
    hand = [model.geom(name).id for name in scene.HAND]
    data = mujoco.MjData(model)

    def find_poses(qpos: np.ndarray) -> Poses:
        data.qpos[:] = qpos
        mujoco.mj_kinematics(model, data)
        mujoco.mj_comPos(model, data)
        mujoco.mj_collision(model, data)
        return Poses(
            position=data.xpos.copy(),
            rotation=data.xmat.reshape(-1, 3, 3).copy(),
            hand_is_near=bool(np.isin(data.contact.geom, hand).any()),
        )

    return find_poses
