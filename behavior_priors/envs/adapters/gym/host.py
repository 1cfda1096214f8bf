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
from behavior_priors.envs.adapters.gym.instance import draw, draw_seed, draw_task, fit
from behavior_priors.envs.adapters.gym.pool import Pool
from behavior_priors.envs.adapters.gym.reports import Reports
from behavior_priors.envs.adapters.gym.spaces import Layout
from behavior_priors.envs.adapters.gym.tasks import TaskList
from behavior_priors.envs.guard import LARGEST_REWARD
from behavior_priors.errors import UserError

T = TypeVar("T")

INSTANCE, TICK, OVER = range(3)
"""Words of a request; the action's follow, those of the episode's key, and those of its task if
there are several. `OVER` says that the episode had ended before."""

FLAGS, REWARD, HEADER = 2, 3, 4
"""Words of an answer, after `INSTANCE` and `TICK`; the observation's follow, and in answers that
begin an episode those of its key and its task."""

TASK_WORDS = 3
"""Of a task in a list: its number, its digest, and whether each episode is of a random one."""

TERMINATED, TRUNCATED, DIVERGED, SUCCESS, BEGAN, WRONG = 1, 2, 4, 8, 16, 32
"""Bits of `FLAGS`. `WRONG`: the answer has numbers that cannot be learned from (`guard`)."""


class Host:
    """Instances of one environment, made when there is no idle one.

    Attributes:
      name: of the environment.
      action: what it accepts.
      layout: of what it observes.
      tasks: that it has; None for one that has but one.
      task_words: words of a request and an answer that say which task it is.
      draws: whether it draws images.
      render_fps: how many of them a second it says; None where it does not.

    Calls come from whatever thread JAX calls from, wait for each other, and are done in one thread.
    Instances are stepped one after the other: about half of a HalfCheetah's step is Python's, and
    environments need not bear to be stepped from several threads.
    """

    def __init__(
        self,
        name: str,
        make: Callable[..., Any],
        action: BoxAction,
        layout: Layout,
        *,
        limit: int,
        draws: bool,
        reports: Reports,
        home: Home,
        tasks: TaskList | None = None,
    ):
        """Starts without instances.

        Args:
          name: of the environment, for messages.
          make: makes one of gymnasium's environments, with the arguments of a task.
          action: what it accepts.
          layout: of what it observes.
          limit: steps that end an episode, whatever the environment says.
          draws: whether it draws images.
          reports: what `info` says of success.
          home: the thread in which all is done; its environments are closed when this is forgotten.
          tasks: that it has; None for one that has but one.
        """
        self.name, self.action, self.layout, self.tasks = name, action, layout, tasks
        self._reports = reports
        low, high = layout.limits()
        self._low = np.append(-LARGEST_REWARD, low).astype(np.float32)
        self._high = np.append(LARGEST_REWARD, high).astype(np.float32)
        self._pool = Pool(name, make, (layout.space, action.space), limit, home, tasks)
        self.task_words = 0 if tasks is None else TASK_WORDS
        self._lock = threading.Lock()
        self.draws, self._home = draws, home
        self.render_fps: float | None = None
        # at the program's end `gym.home` does it
        weakref.finalize(self, home.leave).atexit = False

    def adopt(self, env: Any) -> None:
        """Takes in an environment that `make` made for the first task, as an idle instance.

        Raises:
          UserError: its spaces are not those of the first one.
        """
        self._pool.adopt(env)

    def reset(self, keys: Any) -> np.ndarray:
        """Begins episodes: keys and tasks to answers `[..., header + observation + key + task]`.

        Args:
          keys: `[..., key + task]`; the task's words are its number and digest, and 1 for a random
            one instead. There are none where the environment is but one task.
        """
        keys = np.asarray(keys)
        rows = keys.reshape(-1, keys.shape[-1])
        answers = np.zeros((len(rows), HEADER + self.layout.size + keys.shape[-1]), np.int32)

        def begin() -> None:
            for answer, row in zip(answers, rows, strict=True):
                self._begin(answer, None, row)

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
            self._pool.give_back(rows[_ended(answers) != 0, INSTANCE].tolist())

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
                index = None if rows[row, OVER] else int(rows[row, INSTANCE])
                self._begin(following[row], index, keys[row])

        self._at_home(go)
        return answers.reshape(*requests.shape[:-1], -1)

    def release(self, handles: Any) -> np.ndarray:
        """Makes instances idle whose episodes are given up; of handles that are stale, nothing.

        Args:
          handles: instances and ticks `[..., 2]`.

        Returns:
          The same.
        """
        handles = np.asarray(handles)
        with self._lock:
            self._pool.release(handles.reshape(-1, 2).tolist())
        return handles

    def render(self, handles: Any, width: int, height: int) -> np.ndarray:
        """Images of states: instances and ticks `[..., 2]` to `[..., height, width, 3]` uint8.

        Raises:
          RuntimeError: a state is no longer there.
        """
        handles = np.asarray(handles)
        rows = handles.reshape(-1, 2).tolist()
        images = self._at_home(
            lambda: [fit(self._pool.image(index, tick), width, height) for index, tick in rows]
        )
        return np.stack(images).reshape(*handles.shape[:-1], height, width, 3)

    def _at_home(self, work: Callable[[], T]) -> T:
        """Does something to the instances while nobody else does, in their thread."""
        with self._lock:
            return self._home.do(work)

    def _begin(self, answer: np.ndarray, index: int | None, words: np.ndarray) -> None:
        """Resets an instance and fills `answer` `[header + observation + key + task]`.

        Args:
          answer: is filled.
          index: of the instance that is free; None to take one.
          words: `[key + task]`, as in `reset`.
        """
        key = words[: words.size - self.task_words]
        seed, next_key = draw_seed(key)
        task, options = 0, None
        if self.tasks is not None:
            task, digest, is_random = words[key.size :].tolist()
            if is_random:
                task = draw_task(key, len(self.tasks))
            else:
                self.tasks.check(task, digest)
            options = self.tasks.options(task)
            answer[-TASK_WORDS:] = task, self.tasks.digests[task], is_random
        if index is not None and not self._pool.fits(index, task):
            self._pool.give_back([index])
            index = None
        index = self._pool.take(task) if index is None else index
        instance = self._pool[index]
        observation, info = instance.begin(seed, options)
        if self.draws:
            # now, because the first image may be asked for after the first step
            instance.frame = instance.tick, draw(instance.env, self.name)
        flags = BEGAN | (SUCCESS if self._reports.read(info, None) else 0)
        answer[:HEADER] = index, instance.tick, flags, 0
        after = HEADER + self.layout.size
        answer[after : after + key.size] = next_key
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
            instance = self._pool.claim(index, tick)
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


def _ended(answers: np.ndarray) -> np.ndarray:
    """`[N]`, not zero where a step ended an episode."""
    return answers[:, FLAGS] & (TERMINATED | TRUNCATED)
