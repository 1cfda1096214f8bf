"""gymnasium's environments on the host: instances that are lent to episodes.

JAX's side of it is `gym.env`. A request is a row of int32 words for each environment, and so is an
answer, because every array that crosses costs some 20 µs.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from behavior_priors.envs.adapters.gym.actions import BoxAction
from behavior_priors.envs.adapters.gym.home import Home
from behavior_priors.envs.adapters.gym.instance import Instance, draw, draw_seed, fit
from behavior_priors.envs.adapters.gym.reports import Reports
from behavior_priors.envs.adapters.gym.spaces import Layout
from behavior_priors.envs.guard import LARGEST_REWARD
from behavior_priors.errors import UserError
from behavior_priors.system.faults import blaming

T = TypeVar("T")

INSTANCE, TICK, OVER = range(3)
"""Words of a request; the action's follow, and those of the episode's key. `OVER` says that the
episode had ended before."""

FLAGS, REWARD, HEADER = 2, 3, 4
"""Words of an answer, after `INSTANCE` and `TICK`; the observation's follow, and in answers that
begin an episode those of its key."""

TERMINATED, TRUNCATED, DIVERGED, SUCCESS, BEGAN, WRONG = 1, 2, 4, 8, 16, 32
"""Bits of `FLAGS`. `WRONG`: the answer has numbers that cannot be learned from (`guard`)."""


class Host:
    """Instances of one environment, made when there is no idle one.

    Attributes:
      name: of the environment.
      action: what it accepts.
      layout: of what it observes.
      draws: whether it draws images.
      render_fps: how many of them a second it says; None where it does not.

    Calls come from whatever thread JAX calls from, wait for each other, and are done in one thread.
    Instances are stepped one after the other: about half of a HalfCheetah's step is Python's, and
    environments need not bear to be stepped from several threads.
    """

    def __init__(
        self,
        name: str,
        make: Callable[[], Any],
        action: BoxAction,
        layout: Layout,
        *,
        limit: int,
        draws: bool,
        reports: Reports,
        home: Home,
    ):
        """Starts without instances.

        Args:
          name: of the environment, for messages.
          make: makes one of gymnasium's environments.
          action: what it accepts.
          layout: of what it observes.
          limit: steps that end an episode, whatever the environment says.
          draws: whether it draws images.
          reports: what `info` says of success.
          home: the thread in which all is done; its environments are closed when this is forgotten.
        """
        self.name = name
        self._make, self.action, self.layout = make, action, layout
        self._limit, self._reports = limit, reports
        low, high = layout.limits()
        self._low = np.append(-LARGEST_REWARD, low).astype(np.float32)
        self._high = np.append(LARGEST_REWARD, high).astype(np.float32)
        self._spaces = layout.space, action.space
        self._instances: list[Instance] = []
        self._idle: list[int] = []
        self._lock = threading.Lock()
        self.draws, self._home = draws, home
        self.render_fps: float | None = None
        # at the program's end `gym.home` does it
        weakref.finalize(self, home.leave).atexit = False

    def adopt(self, env: Any) -> None:
        """Takes in an environment that `make` made, as an idle instance.

        Raises:
          UserError: its spaces are not those of the first one.
        """
        self._instances.append(Instance(env, self.name, self._spaces, self._limit))
        self._idle.append(len(self._instances) - 1)

    def reset(self, keys: Any) -> np.ndarray:
        """Begins episodes: keys `[..., key]` to answers `[..., header + observation + key]`."""
        keys = np.asarray(keys)
        rows = keys.reshape(-1, keys.shape[-1])
        answers = np.zeros((len(rows), HEADER + self.layout.size + keys.shape[-1]), np.int32)

        def begin() -> None:
            for answer, key in zip(answers, rows, strict=True):
                self._begin(answer, self._take(), key)

        self._at_home(begin)
        return answers.reshape(*keys.shape[:-1], -1)

    def step(self, requests: Any) -> np.ndarray:
        """Steps: requests to answers `[..., header + observation]`, zeros where it was over.

        Raises:
          RuntimeError: a request is about a state that is no longer there.
        """
        requests = np.asarray(requests)
        rows = requests.reshape(-1, requests.shape[-1])
        answers = np.zeros((len(rows), HEADER + self.layout.size), np.int32)

        def go() -> None:
            self._step(answers, rows)
            self._idle += rows[_ended(answers) != 0, INSTANCE].tolist()

        self._at_home(go)
        return answers.reshape(*requests.shape[:-1], -1)

    def step_then_reset(self, requests: Any) -> np.ndarray:
        """Steps, and begins the next episode where one is over.

        Returns:
          What `step` returns, then the state to go on from as `reset` returns it, `[..., both]`.

        Raises:
          RuntimeError: a request is about a state that is no longer there.
        """
        requests = np.asarray(requests)
        rows = requests.reshape(-1, requests.shape[-1])
        keys = rows[:, OVER + 1 + self.action.size :]
        size = HEADER + self.layout.size
        answers = np.zeros((len(rows), 2 * size + keys.shape[-1]), np.int32)
        stepped, following = answers[:, :size], answers[:, size:]

        def go() -> None:
            self._step(stepped, rows)
            following[:, :size], following[:, size:] = stepped, keys
            for row in (_ended(stepped) | rows[:, OVER]).nonzero()[0]:
                # that of an episode which was over before may have been lent to another
                index = self._take() if rows[row, OVER] else int(rows[row, INSTANCE])
                self._begin(following[row], index, keys[row])

        self._at_home(go)
        return answers.reshape(*requests.shape[:-1], -1)

    def release(self, instances: np.ndarray, ticks: np.ndarray) -> None:
        """Makes instances idle whose episodes are given up; of handles that are stale, nothing."""
        with self._lock:
            for index, tick in zip(instances.reshape(-1), ticks.reshape(-1), strict=True):
                if self._is_current(int(index), int(tick)) and int(index) not in self._idle:
                    self._instances[index].tick += 1
                    self._idle.append(int(index))

    def render(self, handles: Any, width: int, height: int) -> np.ndarray:
        """Images of states: instances and ticks `[..., 2]` to `[..., height, width, 3]` uint8.

        Raises:
          RuntimeError: a state is no longer there.
        """
        handles = np.asarray(handles)
        rows = handles.reshape(-1, 2).tolist()
        images = self._at_home(
            lambda: [fit(self._image(index, tick), width, height) for index, tick in rows]
        )
        return np.stack(images).reshape(*handles.shape[:-1], height, width, 3)

    def _at_home(self, work: Callable[[], T]) -> T:
        """Does something to the instances while nobody else does, in their thread."""
        with self._lock:
            return self._home.do(work)

    def _take(self) -> int:
        if not self._idle:
            with blaming(self.name, "making another one"):
                env = self._make()
            self._home.keep(env)
            self.adopt(env)
        return self._idle.pop()

    def _begin(self, answer: np.ndarray, index: int, key: np.ndarray) -> None:
        """Resets an instance and fills `answer` `[header + observation + key]`."""
        instance, (seed, next_key) = self._instances[index], draw_seed(key)
        observation, info = instance.begin(seed)
        if self.draws:
            # now, because the first image may be asked for after the first step
            instance.frame = instance.tick, draw(instance.env, self.name)
        flags = BEGAN | (SUCCESS if self._reports.read(info, None) else 0)
        answer[:HEADER] = index, instance.tick, flags, 0
        answer[HEADER + self.layout.size :] = next_key
        numbers = np.zeros((1, 1 + self.layout.floats))
        self.layout.write(numbers[:, 1:], answer[None, HEADER:], [0], [observation])
        if not self._put_numbers(answer[None], numbers).all():
            seen = numbers[0, 1:]
            good = (seen >= self._low[1:]) & (seen <= self._high[1:])
            index = int(np.flatnonzero(~good)[0])
            raise UserError(
                f"{self.name}: reset(seed={seed}) begins an episode with {seen[index]:g} in the "
                f"observation {self.layout.name_at(index)}; it should begin with numbers that can "
                "be learned from"
            )

    def _step(self, answers: np.ndarray, rows: np.ndarray) -> None:
        """Fills `answers` `[N, header + observation]`, except for episodes that were over."""
        first = OVER + 1
        actions = self.action.rescale(rows[:, first : first + self.action.size].view(np.float32))
        numbers = np.zeros((len(rows), 1 + self.layout.floats))
        stepped, observations, rewards, flags = [], [], [], []
        for row, (index, tick, over) in enumerate(rows[:, :first].tolist()):
            if over:
                continue
            instance = self._claim(index, tick)
            made = instance.step(actions[row, ...])
            stepped.append(row)
            observations.append(made.observation)
            rewards.append(made.reward)
            succeeded = self._reports.read(made.info, made.terminated or made.truncated)
            flags.append(
                (TERMINATED if made.terminated else 0)
                | (TRUNCATED if made.truncated else 0)
                | (SUCCESS if succeeded else 0)
                | (DIVERGED if instance.became_unstable() else 0)
            )
        # one access for all: each costs a microsecond, whatever it is of
        if stepped:
            where = slice(None) if len(stepped) == len(rows) else stepped
            self.layout.write(numbers[:, 1:], answers[:, HEADER:], where, observations)
            numbers[where, 0] = rewards
            answers[where, FLAGS] = flags
        answers[:, [INSTANCE, TICK]] = rows[:, [INSTANCE, TICK]] + [0, 1]
        wrong = ~self._put_numbers(answers, numbers)
        wrong &= rows[:, OVER] == 0
        diverged = answers[:, FLAGS] & DIVERGED != 0
        answers[diverged, FLAGS] = DIVERGED | TRUNCATED
        answers[diverged, REWARD] = 0
        answers[wrong, FLAGS] = WRONG | TRUNCATED

    def _put_numbers(self, answers: np.ndarray, numbers: np.ndarray) -> Any:
        """Rewards and observations `[N, 1 + floats]` as float32.

        Returns:
          Which rows can be learned from, `[N]`: NaN is between no limits.
        """
        rounded = answers[:, REWARD : HEADER + self.layout.floats].view(np.float32)
        with np.errstate(over="ignore"):
            rounded[...] = numbers
        return ((rounded >= self._low) & (rounded <= self._high)).all(-1)

    def _claim(self, index: int, tick: int) -> Instance:
        """The instance in the state of a handle, which is left for good."""
        instance = self._current(index, tick)
        if instance.watched and (instance.frame is None or instance.frame[0] != tick):
            instance.frame = tick, draw(instance.env, self.name)
        instance.tick += 1
        return instance

    def _image(self, index: int, tick: int) -> np.ndarray:
        if 0 <= index < len(self._instances):
            instance = self._instances[index]
            instance.watched = True
            if instance.frame is not None and instance.frame[0] == tick:
                return instance.frame[1]
        instance = self._current(index, tick)
        instance.frame = tick, draw(instance.env, self.name)
        return instance.frame[1]

    def _is_current(self, index: int, tick: int) -> bool:
        return 0 <= index < len(self._instances) and self._instances[index].tick == tick

    def _current(self, index: int, tick: int) -> Instance:
        """The instance in the state of a handle."""
        if not self._is_current(index, tick):
            raise RuntimeError(
                f"{self.name}: this state is gone, because its instance was stepped or reset since,"
                " or belongs to another process; step a state once, and begin anew with env.reset"
            )
        return self._instances[index]


def _ended(answers: np.ndarray) -> np.ndarray:
    """`[N]`, not zero where a step ended an episode."""
    return answers[:, FLAGS] & (TERMINATED | TRUNCATED)
