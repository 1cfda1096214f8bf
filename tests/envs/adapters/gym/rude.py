"""Environments of gymnasium that ask more of whoever steps them; importing it registers them."""

from __future__ import annotations

import asyncio
import multiprocessing
import sqlite3
import sys
import threading
from typing import Any, ClassVar

import gymnasium
import numpy as np
from gymnasium import spaces

RUDE = "gym/tests.envs.adapters.gym.rude:"
LIMIT = 5


class Rude(gymnasium.Env):
    """Observes `[time, action]`, pays 1 a step, has a time limit of 5 steps.

    Attributes:
      made: every instance, in the order in which they were made.
      threads: those in which it was made, stepped, reset or closed.
      closed: whether it was.
    """

    made: ClassVar[list[Any]] = []

    def __init__(self, noise: float | None = 0.5):
        """Begins nothing."""
        self.noise, self.time, self.actions = noise, 0, []
        self.threads, self.closed = {threading.current_thread()}, threading.Event()
        self.observation_space = spaces.Box(-10.0, 10.0, (2,), np.float32)
        self.action_space = spaces.Box(-1.0, 1.0, (1,), np.float32)
        self.made.append(self)

    def observe(self, action: float) -> Any:
        """An array of its own."""
        return np.float32([self.time, action])

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        """Begins an episode."""
        super().reset(seed=seed)
        self.threads.add(threading.current_thread())
        self.time = 0
        return self.observe(0.0), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Counts."""
        self.threads.add(threading.current_thread())
        self.time += 1
        self.actions.append(action)
        return self.observe(float(np.reshape(action, -1)[0])), 1.0, False, False, {}

    def close(self) -> None:
        """Remembers it."""
        self.threads.add(threading.current_thread())
        self.closed.set()


class Shared(Rude):
    """Writes what all instances observe into one array."""

    buffer: ClassVar[np.ndarray] = np.zeros(2, np.float32)

    def observe(self, action: float) -> Any:
        self.buffer[:] = self.time, action
        return self.buffer


class SharedDict(Shared):
    """The same in a dictionary that is always the same one."""

    whole: ClassVar[dict[str, np.ndarray]] = {"both": Shared.buffer}

    def __init__(self, **options: Any):
        super().__init__(**options)
        self.observation_space = spaces.Dict({"both": self.observation_space})

    def observe(self, action: float) -> Any:
        super().observe(action)
        return self.whole


class Autoreset(gymnasium.Wrapper):
    """Begins the next episode in the step that ends one, after three, as gymnasium 0.29's does."""

    def __init__(self, key: str = "final_observation"):
        super().__init__(Rude())
        self.key = key

    def reset(self, **options: Any) -> Any:
        return self.env.reset(**options)[0], {"is_success": False}

    def step(self, action: Any) -> Any:
        observation, reward, _, _, _ = self.env.step(action)
        if self.env.time < 3:
            return observation, reward, False, False, {"is_success": False}
        begun, info = self.reset()
        last = {self.key: observation, "final_info": {"is_success": True}}
        return begun, reward, True, False, {**info, **last}


class GoesOn(gymnasium.Wrapper):
    """Makes a task of no end of one with a time limit."""

    def __init__(self, **options: Any):
        super().__init__(gymnasium.wrappers.TimeLimit(Rude(**options), LIMIT))

    def step(self, action: Any) -> Any:
        observation, reward, terminated, truncated, info = self.env.step(action)
        if truncated:
            observation, _ = self.env.reset()
        return observation, reward, terminated, False, info


class Bounds(Rude):
    """Has an action of given bounds and shape."""

    def __init__(self, bound: float = 1.0, shape: Any = (1,), dtype: str = "float32"):
        super().__init__()
        self.action_space = spaces.Box(-bound, bound, tuple(shape), np.dtype(dtype).type)


class Prices(Rude):
    """Has data that are none of MuJoCo's."""

    data = np.arange(6.0)


class Unloaded(Rude):
    """Has data that are not there yet."""

    @property
    def data(self) -> Any:
        raise RuntimeError("not loaded")


class Strict(Rude):
    """Says something else of attributes that it does not have."""

    def __getattr__(self, name: str) -> Any:
        return {}[name]


class Database(Rude):
    """Writes into a database that bears one thread."""

    def __init__(self) -> None:
        super().__init__()
        self.connection = sqlite3.connect(":memory:")
        self.connection.execute("create table steps (time int)")

    def step(self, action: Any) -> Any:
        self.connection.execute("insert into steps values (?)", (self.time,))
        return super().step(action)

    def close(self) -> None:
        self.connection.close()
        super().close()


class Looping(Rude):
    """Waits in the event loop of its thread."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.get_event_loop()

    def step(self, action: Any) -> Any:
        self.loop.run_until_complete(asyncio.sleep(0.0))
        return super().step(action)


class Raises(Rude):
    """Raises what `what` says once it has been stepped more than `after` times."""

    def __init__(self, what: str = "exit", after: int = 25):
        super().__init__()
        self.what, self.after = what, after

    def step(self, action: Any) -> Any:
        if len(self.actions) >= self.after:
            if self.what == "exit":
                sys.exit("window closed")
            raise {
                "interrupt": KeyboardInterrupt(),
                "surrogate": OSError("cannot read caf\udce9.npy"),
                "nul": OSError("bad a\0b"),
                "mute": MuteError(),
            }[self.what]
        return super().step(action)


class MuteError(Exception):
    """Cannot say what it is about."""

    def __str__(self) -> str:
        return self.text  # type: ignore[attr-defined]


def _wait(pipe: Any) -> None:
    pipe.recv()


class Child(Rude):
    """Has a process that ends when it is closed, and nobody's daemon."""

    def __init__(self) -> None:
        super().__init__()
        self.pipe, other = multiprocessing.Pipe()
        context = multiprocessing.get_context("fork")
        self.process = context.Process(target=_wait, args=(other,))
        self.process.start()

    def close(self) -> None:
        self.pipe.send(None)
        self.process.join()


class Waiting(Rude):
    """Has a thread that ends when it is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.end = threading.Event()
        threading.Thread(target=self.end.wait, daemon=False).start()

    def close(self) -> None:
        self.end.set()


class Uncloseable(Rude):
    """Raises when it is closed, or never comes to an end of it."""

    def __init__(self, hangs: bool = False):
        super().__init__()
        self.hangs = hangs

    def close(self) -> None:
        if self.hangs:
            threading.Event().wait()
        sys.exit("no window")


for kind in (
    *(Rude, Shared, SharedDict, Autoreset, Bounds, Prices, Unloaded, Strict, Database, Looping),
    *(Raises, Child, Waiting, Uncloseable),
):
    gymnasium.register(f"{kind.__name__}-v0", entry_point=kind, max_episode_steps=LIMIT)
gymnasium.register("GoesOn-v0", entry_point=GoesOn)
gymnasium.register("Unlimited-v0", entry_point=Rude)
for steps in (10_000_001, 10**9, sys.maxsize):
    gymnasium.register(f"Steps{steps}-v0", entry_point=Rude, max_episode_steps=steps)
