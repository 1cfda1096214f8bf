"""Instances of one of gymnasium's environments that are lent to episodes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from behavior_priors.envs.adapters.gym.home import Home
from behavior_priors.envs.adapters.gym.instance import Instance, draw
from behavior_priors.envs.adapters.gym.tasks import TaskList
from behavior_priors.system.faults import blaming


class Pool:
    """Instances, made when there is no idle one; whoever calls sees to it that nobody else does."""

    def __init__(
        self,
        name: str,
        make: Callable[..., Any],
        spaces: tuple[Any, Any],
        limit: int,
        home: Home,
        tasks: TaskList | None,
    ):
        """Starts without instances.

        Args:
          name: of the environment, for messages.
          make: makes one, with the arguments of a task.
          spaces: of its observations and actions.
          limit: steps that end an episode, whatever the environment says.
          home: the thread in which all is done.
          tasks: that it has; None for one that has but one.
        """
        self._name, self._make, self._spaces, self._limit = name, make, spaces, limit
        self._home, self._tasks = home, tasks
        self._instances: list[Instance] = []
        self._made_for: list[int] = []
        self._idle: list[int] = []

    def __getitem__(self, index: int) -> Instance:
        return self._instances[index]

    def adopt(self, env: Any, task: int = 0) -> None:
        """Takes in an environment as an idle instance, which was made for a task.

        Raises:
          UserError: its spaces are not those of the first one.
        """
        self._instances.append(Instance(env, self._name, self._spaces, self._limit))
        self._made_for.append(task)
        self._idle.append(len(self._instances) - 1)

    def take(self, task: int = 0) -> int:
        """The number of an instance for an episode of a task.

        Raises:
          UserError: there is no idle one, and another one cannot be made.
        """
        for place in range(len(self._idle) - 1, -1, -1):
            if self.fits(self._idle[place], task):
                return self._idle.pop(place)
        with blaming(self._name, "making another one"):
            env = self._make(**({} if self._tasks is None else self._tasks.arguments(task)))
        self._home.keep(env)
        self.adopt(env, task)
        return self._idle.pop()

    def fits(self, index: int, task: int) -> bool:
        """Whether an instance will do for a task."""
        return self._tasks is None or self._tasks.fits(self._made_for[index], task)

    def give_back(self, indices: Iterable[int]) -> None:
        """Makes instances idle whose episodes have ended."""
        self._idle += indices

    def release(self, handles: Iterable[tuple[int, int]]) -> None:
        """Makes instances idle whose episodes are given up; of handles that are stale, nothing."""
        for index, tick in handles:
            if self._is_current(index, tick) and index not in self._idle:
                self._instances[index].tick += 1
                self._idle.append(index)

    def claim(self, index: int, tick: int) -> Instance:
        """The instance in the state of a handle, which is left for good.

        Raises:
          RuntimeError: the state is no longer there.
        """
        instance = self._current(index, tick)
        if instance.watched and (instance.frame is None or instance.frame[0] != tick):
            instance.frame = tick, draw(instance.env, self._name)
        instance.tick += 1
        return instance

    def image(self, index: int, tick: int) -> np.ndarray:
        """What an instance shows in the state of a handle.

        Raises:
          RuntimeError: the state is no longer there.
        """
        if 0 <= index < len(self._instances):
            instance = self._instances[index]
            instance.watched = True
            if instance.frame is not None and instance.frame[0] == tick:
                return instance.frame[1]
        instance = self._current(index, tick)
        instance.frame = tick, draw(instance.env, self._name)
        return instance.frame[1]

    def _is_current(self, index: int, tick: int) -> bool:
        return 0 <= index < len(self._instances) and self._instances[index].tick == tick

    def _current(self, index: int, tick: int) -> Instance:
        """The instance in the state of a handle."""
        if not self._is_current(index, tick):
            raise RuntimeError(
                f"{self._name}: this state is gone, because its instance was stepped or reset "
                "since, or belongs to another process; step a state once, and begin anew with "
                "env.reset"
            )
        return self._instances[index]
