"""One of gymnasium's environments on the host, and what it draws."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any

import mujoco
import numpy as np

from behavior_priors.envs.faults import fault
from behavior_priors.envs.gym_answers import Stepped, read_reset, read_step
from behavior_priors.envs.gym_leaves import show
from behavior_priors.types import UserError

_UNSTABLE = slice(
    mujoco.mjtWarning.mjWARN_BADQPOS.value, mujoco.mjtWarning.mjWARN_BADQACC.value + 1
)


# as in the C engine: `State.diverged` tells, not a file in the user's folder nor a line an instance
_LOG = mujoco.MjLogConfig.get()
_LOG.logto_file = False
_LOG.logto_console = False
_LOG.set()


class Instance:
    """One of gymnasium's environments, and the count of what was done to it.

    Attributes:
      env: the environment.
      tick: counts resets and steps, from a number that differs between processes.
      frame: the last image drawn, and the tick that it shows.
      watched: whether an image of this episode was asked for.
    """

    def __init__(self, env: Any, name: str, spaces: tuple[Any, Any]):
        """Takes in an environment.

        Args:
          env: gymnasium's.
          name: of it, for messages.
          spaces: that its observations and actions should be of.

        Raises:
          UserError: they are not.
        """
        self.env = env
        self._name, self._spaces = name, spaces
        self._check_spaces()
        self.tick = secrets.randbelow(2**30)
        self.frame: tuple[int, np.ndarray] | None = None
        self.watched = False
        self._warnings: Any = None
        self._warned = b""

    def begin(self, seed: int) -> tuple[Any, Mapping[str, Any]]:
        """Resets the environment; returns its observation and its info.

        Raises:
          UserError: it raises, returns something else, or its spaces are others now.
        """
        try:
            result = read_reset(self.env.reset(seed=seed), self._name)
        except Exception as error:
            raise fault(self._name, f"reset(seed={seed})", error) from error
        self._check_spaces()
        self.tick += 1
        self.watched = False
        data = getattr(self.env.unwrapped, "data", None) or getattr(
            self.env.unwrapped, "_data", None
        )
        if isinstance(data, mujoco.MjData):
            self._warnings = data.warning.number[_UNSTABLE]
            self.became_unstable()
        return result

    def became_unstable(self) -> bool:
        """Whether MuJoCo has given the simulation up since the last call.

        It then goes on from the model's defaults, with observations that look like any others.
        """
        if self._warnings is None:
            return False
        before, self._warned = self._warned, self._warnings.tobytes()
        return self._warned != before

    def step(self, action: np.ndarray) -> Stepped:
        """Steps the environment.

        Raises:
          UserError: it raises, or returns something that it should not.
        """
        try:
            return read_step(self.env.step(action), self._name)
        except Exception as error:
            raise fault(self._name, "step", error) from error

    def _check_spaces(self) -> None:
        now = self.env.observation_space, self.env.action_space
        for kind, space, before in zip(("observation", "action"), now, self._spaces, strict=True):
            if space is not before and space != before:
                raise UserError(
                    f"{self._name}: its {kind} space was {show(before)} and is {show(space)} now; "
                    "it should stay the same"
                )


def fit(image: np.ndarray, width: int, height: int) -> np.ndarray:
    """An image `[H, W, 3]` within `[height, width, 3]`, the nearest pixels, black where it ends."""
    scale = min(width / image.shape[1], height / image.shape[0])
    inner_width, inner_height = (max(1, round(scale * n)) for n in (image.shape[1], image.shape[0]))
    rows = (np.arange(inner_height) + 0.5) * image.shape[0] / inner_height
    columns = (np.arange(inner_width) + 0.5) * image.shape[1] / inner_width
    top, left = (height - inner_height) // 2, (width - inner_width) // 2
    canvas = np.zeros((height, width, 3), np.uint8)
    canvas[top : top + inner_height, left : left + inner_width] = image[
        rows.astype(int)[:, None], columns.astype(int)
    ]
    return canvas
