"""What gymnasium's environments report of success, episode after episode."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from behavior_priors.envs.adapters.gym.answers import SUCCESS_KEYS, find_success
from behavior_priors.envs.adapters.gym.look import WHOLE_EPISODES, say


class Reports:
    """Reads success from `info`, and says in a line where reports are not what was expected."""

    def __init__(self, name: str, *, measured: bool, is_told: bool):
        """Starts without a report.

        Args:
          name: of the environment, for messages.
          measured: whether success counts.
          is_told: the user has said so, or said that it does not.
        """
        self._name, self._measured = name, measured
        # a report where none was found, or none where the user has said that there are
        self._listens = measured == is_told
        self._silent_episodes = 0

    def read(self, info: Mapping[str, Any], is_over: bool | None) -> bool:
        """Whether the task's condition holds; False where success is not measured.

        Args:
          info: what a reset or a step said.
          is_over: the episode has ended with it; None for a reset.

        Raises:
          UserError: it says something that is neither true nor false.
        """
        if not (self._measured or self._listens):
            return False
        success = find_success(info, self._name)
        if self._listens:
            self._hear(success, is_over)
        return self._measured and bool(success)

    def _hear(self, success: bool | None, is_over: bool | None) -> None:
        if not self._measured:
            if success is not None:
                self._listens = False
                say(
                    f"{self._name}: info reports success after all; measures_success=true makes "
                    "success rates of it"
                )
        elif success is not None:
            # a reset that reports says nothing of the steps
            self._listens &= is_over is None
        elif is_over:
            self._silent_episodes += 1
            if self._silent_episodes == WHOLE_EPISODES:
                self._listens = False
                keys = " or ".join(f"info[{key!r}]" for key in SUCCESS_KEYS)
                say(
                    f"{self._name}: measures_success=true, and {WHOLE_EPISODES} whole episodes "
                    f"have reported none; looked for is {keys}, and one without has failed"
                )
