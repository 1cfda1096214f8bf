"""Tables of scenes: which objects and containers there are, and where an episode puts them."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from behavior_priors.envs.manipulation import objects
from behavior_priors.envs.manipulation.containers import CONTAINERS, Container
from behavior_priors.errors import UserError
from behavior_priors.types import Array

PLACEMENT = np.array([[0.25, -0.18], [0.45, 0.18]], np.float32)  # of objects, metres
PLACEMENT_GAP = 0.012  # between objects, metres
CONTAINER_GAP = 0.03  # between objects and the container, so that fingers fit, metres
PLACEMENT_TRIES = 32
OBSERVED_SLOTS = 3
"""Objects that every task observes; where a scene has fewer, the last ones are absent."""


class Layout(NamedTuple):
    """What a scene is made of.

    Attributes:
      objects: their names, slot by slot.
      container: its name, None for a scene without one.
      at: where the container stands, metres.
    """

    objects: tuple[str, ...]
    container: str | None = None
    at: tuple[float, float] = (0.0, 0.0)

    def describe(self) -> list[str]:
        """The layout as a list of words, for metadata."""
        if self.container is None:
            return list(self.objects)
        return [*self.objects, f"{self.container} at {self.at[0]:.3f} {self.at[1]:.3f}"]


class Scenes(NamedTuple):
    """A table of scenes as arrays that a scene's number indexes.

    Attributes:
      layouts: of each scene.
      present: `[scenes, slots]` bool, which slots hold an object: the first ones. There are
        `OBSERVED_SLOTS`, or more where scenes have more objects; of absent ones all is zero.
      rest_height: `[scenes, slots]`, of the objects' origins, metres.
      half_extents: `[scenes, slots, 3]`, metres.
      radius: `[scenes, slots]`, metres.
      container_position: `[scenes, 3]`, middle of the surface that objects come to lie on, metres.
      container_size: `[scenes, 3]`, half extents of that surface, and height of the rim above it.
      container_radius: `[scenes]`, metres; minus infinity without a container.
    """

    layouts: tuple[Layout, ...]
    present: np.ndarray
    rest_height: np.ndarray
    half_extents: np.ndarray
    radius: np.ndarray
    container_position: np.ndarray
    container_size: np.ndarray
    container_radius: np.ndarray

    @property
    def slots(self) -> int:
        """Slots that are observed, absent ones included."""
        return self.present.shape[1]

    @property
    def objects(self) -> int:
        """Objects in a scene."""
        return len(self.layouts[0].objects)

    @property
    def has_containers(self) -> bool:
        """Whether there is a container in every scene; else there is none in any."""
        return self.layouts[0].container is not None


def find_container(layout: Layout) -> Container | None:
    """A layout's container.

    Raises:
      UserError: there is none of that name.
    """
    if layout.container is None:
        return None
    if layout.container not in CONTAINERS:
        raise UserError(
            f"no container is called {layout.container!r}; there are: {', '.join(CONTAINERS)}"
        )
    return CONTAINERS[layout.container]


def make_scenes(layouts: Sequence[Layout]) -> Scenes:
    """Looks up what layouts name.

    Raises:
      UserError: an unknown object or container.
      ValueError: layouts of different numbers of objects, or only some of them with a container.
    """
    shapes = {(len(layout.objects), layout.container is None) for layout in layouts}
    if len(shapes) != 1:
        raise ValueError("the scenes of a task have as many objects, and all or none a container")
    items = [[objects.find(name) for name in layout.objects] for layout in layouts]
    count = len(items[0])
    slots = max(count, OBSERVED_SLOTS)

    def stack(field: str) -> np.ndarray:
        values = np.array([[getattr(o, field) for o in scene] for scene in items], np.float32)
        return np.pad(values, [(0, 0), (0, slots - count), *[(0, 0)] * (values.ndim - 2)])

    position, size, radius = [], [], []
    for layout in layouts:
        found = find_container(layout)
        position.append((*layout.at, found.floor if found else 0.0))
        size.append((*found.inner, found.rim - found.floor) if found else (0.0, 0.0, 0.0))
        radius.append(found.radius if found else -np.inf)
    return Scenes(
        layouts=tuple(layouts),
        present=np.broadcast_to(np.arange(slots) < count, (len(items), slots)),
        rest_height=stack("rest_height"),
        half_extents=stack("half_extents"),
        radius=stack("radius"),
        container_position=np.array(position, np.float32),
        container_size=np.array(size, np.float32),
        container_radius=np.array(radius, np.float32),
    )


def place_objects(uniform: Array, radius: Array, keep_off: Array, keep_off_radius: Array) -> Array:
    """Positions `[slots, 2]`, metres, that keep objects apart, and off the container.

    The first of a number of random candidates that do; if none does, a row in random order, which
    always does: along the middle of the table, or on the other side of it than the container.

    Args:
      uniform: `[PLACEMENT_TRIES * slots * 2 + 1]`, random numbers in [0, 1).
      radius: `[slots]`, of the objects, metres.
      keep_off: `[2]`, where the container stands, metres.
      keep_off_radius: `[]`, metres; minus infinity without a container.
    """
    (slots,) = radius.shape
    low, high = jnp.asarray(PLACEMENT)
    random = low + (high - low) * uniform[:-1].reshape(PLACEMENT_TRIES, slots, 2)
    order = np.array(list(itertools.permutations(np.linspace(0.0, 1.0, slots))), np.float32)
    share = jnp.asarray(order)[(uniform[-1] * len(order)).astype(jnp.int32)][:, None]
    far_y = jnp.where(keep_off[1] > 0.0, low[1], high[1])
    beside = jnp.stack([low[0], far_y]), jnp.stack([high[0], far_y])
    middle_x = PLACEMENT[:, 0].mean()
    across = jnp.stack([middle_x, low[1]]), jnp.stack([middle_x, high[1]])
    start, end = jax.tree.map(
        lambda a, b: jnp.where(jnp.isfinite(keep_off_radius), a, b), beside, across
    )
    candidates = jnp.concatenate([random, (start + share * (end - start))[None]])
    distance = jnp.linalg.norm(candidates[:, :, None] - candidates[:, None], axis=-1)
    needed = radius[:, None] + radius[None] + PLACEMENT_GAP
    apart = (distance >= needed) | jnp.eye(slots, dtype=bool)
    away = jnp.linalg.norm(candidates - keep_off, axis=-1)
    clear = apart.all((1, 2)) & (away >= radius + keep_off_radius + CONTAINER_GAP).all(1)
    return candidates[jnp.argmax(clear.at[-1].set(True))]
