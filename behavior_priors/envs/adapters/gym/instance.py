"""One of gymnasium's environments on the host, and what it draws."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any

import mujoco
import numpy as np

from behavior_priors.envs.adapters.gym.answers import Stepped, read_reset, read_step
from behavior_priors.envs.adapters.gym.leaves import show
from behavior_priors.envs.adapters.gym.look import reset_env, say
from behavior_priors.errors import UserError
from behavior_priors.system.faults import blaming, fault

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
      time: steps of its episode.
      frame: the last image drawn, and the tick that it shows.
      watched: whether an image of this episode was asked for.
    """

    def __init__(self, env: Any, name: str, spaces: tuple[Any, Any], limit: int):
        """Takes in an environment.

        Args:
          env: gymnasium's.
          name: of it, for messages.
          spaces: that its observations and actions should be of.
          limit: steps that end an episode, whatever it says.

        Raises:
          UserError: they are not.
        """
        self.env = env
        self._name, self._spaces, self._limit = name, spaces, limit
        self._check_spaces()
        self.tick = secrets.randbelow(2**30)
        self.time = 0
        self.frame: tuple[int, np.ndarray] | None = None
        self.watched = False
        self._warnings: Any = None
        self._warned = b""

    def begin(
        self, seed: int, options: Mapping[str, Any] | None = None
    ) -> tuple[Any, Mapping[str, Any]]:
        """Resets the environment; returns its observation and its info.

        Raises:
          UserError: it raises, returns something else, or its spaces are others now.
        """
        with blaming(self._name, f"reset(seed={seed})"):
            result = read_reset(reset_env(self.env, seed, options), self._name)
        self._check_spaces()
        self.tick += 1
        self.time = 0
        self.watched = False
        if (data := _simulation_of(self.env)) is not None:
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
        """Steps the environment; the last step that its time limit allows is truncated.

        Raises:
          UserError: it raises, or returns something that it should not.
        """
        self.time += 1
        # `blaming` would cost a microsecond, and this thread is never the main one
        try:
            made = read_step(self.env.step(action), self._name)
        except BaseException as error:
            raise fault(self._name, "step", error) from error
        if self.time < self._limit or made.terminated or made.truncated:
            return made
        # as a wrapper around gymnasium's own limit does that makes a task of no end
        say(
            f"{self._name}: its episodes go on after {self._limit} steps, the time limit that it "
            "names; they are truncated there"
        )
        return made._replace(truncated=True)

    def _check_spaces(self) -> None:
        with blaming(self._name, "a space of it"):
            now = self.env.observation_space, self.env.action_space
            kinds = "observation", "action"
            for kind, space, before in zip(kinds, now, self._spaces, strict=True):
                if space is not before and space != before:
                    raise UserError(
                        f"{self._name}: its {kind} space was {show(before)} and is {show(space)} "
                        "now; it should stay the same"
                    )


def _simulation_of(env: Any) -> mujoco.MjData | None:
    """MuJoCo's data in an environment; None if there are none."""
    for name in ("data", "_data"):
        # what is called so may be anything, such as a table of prices, and may raise anything
        try:
            data = getattr(env.unwrapped, name)
        except Exception:
            continue
        if isinstance(data, mujoco.MjData):
            return data
    return None


def draw_seed(key: np.ndarray) -> tuple[int, np.ndarray]:
    """An episode's seed and the words of the next episode's key, from those of its own key.

    Here and not in JAX, which would draw in every step for the few that end an episode. The seed
    has 31 bits, because what environments do with theirs often takes no more.
    """
    words = np.random.SeedSequence(key.view(np.uint32).tolist()).generate_state(1 + key.size)
    return int(words[0] >> 1), words[1:].view(np.int32)


def draw_task(key: np.ndarray, count: int) -> int:
    """A random task of an episode, from the words of its key."""
    words = [*key.view(np.uint32).tolist(), count]
    return int(np.random.default_rng(words).integers(count))


def draw(env: Any, name: str) -> np.ndarray:
    """What an environment shows now, `[H, W, 3]` uint8.

    Raises:
      UserError: it raises, or shows something else.
    """
    with blaming(name, "render"):
        image = np.array(env.render())  # it may draw into the same one again
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
        raise UserError(
            f"{name}: render gave {image.dtype} {image.shape}; it should be uint8 (height, width, "
            "3)"
        )
    return image


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
