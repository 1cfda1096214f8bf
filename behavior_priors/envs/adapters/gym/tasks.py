"""Tasks of one of gymnasium's environments: options of `reset`, or arguments that it is made with.

    {"reset": [{"goal": [0.3, 0.1]}, {"goal": [-0.2, 0.4]}]}
    {"make": [{"mass": 0.5}, {"mass": 2.0}]}

Each element is a task. The first kind is given to `reset(options=...)` at the beginning of each
episode; for the second an instance is made for each task that is met.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, NotRequired, TypedDict

import jax
import jax.numpy as jnp
import numpy as np

from behavior_priors.errors import UserError
from behavior_priors.system.files import reason
from behavior_priors.system.foreign_files import MEGABYTE, read_json
from behavior_priors.types import Array, PRNGKey

_LARGEST_FILE = 64 * MEGABYTE


class ListedTask(NamedTuple):
    """A task of a list.

    Attributes:
      number: `[]` int32, its place in the list.
      digest: `[]` int32, of what is there, so that a run is not gone on with in another list.
    """

    number: Array
    digest: Array


class _File(TypedDict):
    reset: NotRequired[list[dict[str, Any]]]
    make: NotRequired[list[dict[str, Any]]]


class TaskList:
    """The tasks that a file lists."""

    def __init__(self, path: str, name: str):
        """Reads the file.

        Args:
          path: of the file.
          name: of the environment, for messages.

        Raises:
          UserError: it cannot be read, or lists no tasks.
        """
        self.path, self._name = path, name
        try:
            content = read_json(Path(path), _File, limit=_LARGEST_FILE)
        except OSError as error:
            raise UserError(f"{name}: tasks={path} cannot be read: {reason(error)}") from error
        kinds = [kind for kind in ("reset", "make") if content.get(kind)]
        if len(kinds) != 1 or len(content) != 1:
            raise UserError(
                f'{name}: tasks={path} should hold {{"reset": [...]}}, options of reset for each '
                'task, or {"make": [...]}, arguments that the environment is made with'
            )
        self._is_made = kinds == ["make"]
        self._items: list[dict[str, Any]] = content[kinds[0]]
        texts = (json.dumps(item, sort_keys=True) for item in self._items)
        self.digests = np.array([zlib.crc32(x.encode()) for x in texts], np.uint32).view(np.int32)

    def __len__(self) -> int:
        return len(self._items)

    def options(self, number: int) -> Mapping[str, Any] | None:
        """What `reset` is given for a task; None for nothing."""
        return None if self._is_made else self._items[number]

    def arguments(self, number: int) -> Mapping[str, Any]:
        """What an instance for a task is made with."""
        return self._items[number] if self._is_made else {}

    def fits(self, made_for: int, number: int) -> bool:
        """Whether an instance that was made for one task will do for another."""
        return made_for == number or not self._is_made

    def check(self, number: int, digest: int) -> None:
        """Refuses a task that is not in the list.

        Raises:
          UserError: it is of another list.
        """
        if not 0 <= number < len(self) or int(self.digests[number]) != digest:
            raise UserError(
                f"{self._name}: task {number} is not the one in {self.path} that the run began "
                "with; give the file as it was, or another --workdir"
            )

    def sample(self, key: PRNGKey, count: int) -> ListedTask:
        """Draws different tasks `[count]`.

        Raises:
          UserError: there are not so many.
        """
        if count > len(self):
            raise UserError(
                f"{self._name}: {self.path} lists {len(self)} tasks, and {count} are asked for; "
                "give less as --tasks.train and --tasks.test together, or a longer list"
            )
        number = jax.random.permutation(key, jnp.arange(len(self), dtype=jnp.int32))[:count]
        return ListedTask(number, jnp.asarray(self.digests)[number])
