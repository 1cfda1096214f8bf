"""Experience of PEARL as its public code makes it: one process, one environment, a call a step.

With gymnasium's half-cheetah and a policy in torch. Written for the comparison and leaner than that
code: what has been seen is kept in arrays of full size, where that joins lists at each step.

Imported only where torch and gymnasium are installed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import gymnasium
import numpy as np
import torch

from benchmarks import torch_parts
from benchmarks.pearl_configs import Configs
from benchmarks.torch_pearl import PearlNets

ID = "HalfCheetah-v5"
HEIGHT = 0.7  # metres, of the torso where the vertical position is 0

Belief = tuple[torch.Tensor, torch.Tensor]
"""Mean and variance `[latent_size]`."""


class Memory(NamedTuple):
    """Of one task, in order `[steps, ...]`."""

    observation: np.ndarray
    action: np.ndarray
    reward: np.ndarray
    next_observation: np.ndarray


class Collector:
    """A policy and the one environment that it acts in, whose task is a speed."""

    def __init__(
        self,
        configs: Configs,
        weights: torch_parts.Arrays,
        scale: np.ndarray,
        episode_length: int,
    ) -> None:
        """Initialises the collector.

        Args:
          configs: of the networks.
          weights: of all of them.
          scale: `[observation_size]`, what observations are divided by.
          episode_length: in steps.
        """
        self._scale, self.latent_size = scale.astype(np.float32), configs.context.latent_size
        self.length = episode_length
        self.env = _make_env(episode_length)
        self._size = self.env.action_space.shape[0]
        self._nets = PearlNets(configs, len(scale), self._size)
        torch_parts.load(self._nets, weights)
        self.env.reset(seed=0)
        self._rng = np.random.default_rng(0)

    def observe(self, seen: np.ndarray) -> np.ndarray:
        """What PEARL's environment shows `[20]`, standardised, of gymnasium's `[18]`."""
        torso = (seen[0], 0.0, seen[1] + HEIGHT)
        return np.concatenate([seen[1:], torso], dtype=np.float32) / self._scale

    def restart(self, qpos: np.ndarray, qvel: np.ndarray) -> np.ndarray:
        """Goes to that state and observes it."""
        self.env.reset()
        body = self.env.unwrapped
        body.set_state(qpos, qvel)
        return self.observe(np.concatenate([qpos, qvel]))

    @torch.inference_mode()
    def act(self, observation: np.ndarray, description: torch.Tensor, noise: torch.Tensor) -> Any:
        """An action `[size]` for standard normal noise `[size]`."""
        x = torch.cat([torch.from_numpy(observation), description])
        return self._nets.draw(x, noise)[0].numpy()

    def step(self, action: np.ndarray, speed: float) -> tuple[np.ndarray, float]:
        """What is observed after a step, and the reward of whoever should have that speed."""
        seen, _, _, _, info = self.env.step(action)
        effort = 0.05 * float(np.square(action).sum())
        return self.observe(seen), -abs(info["x_velocity"] - speed) - effort

    @torch.inference_mode()
    def infer(self, memory: Memory, rows: np.ndarray) -> Belief:
        """What these of the transitions say about their task."""
        seen = (memory.observation, memory.action, memory.reward)
        return self._nets.believe(*(torch.from_numpy(x[rows]) for x in seen))

    def episode(self, speed: float, belief: Belief, memory: Memory, start: int) -> None:
        """Writes an episode into the memory from that row on; one description is for all of it."""
        mean, variance = belief
        description = mean + variance.sqrt() * torch.randn(self.latent_size)
        observation = self.observe(self.env.reset()[0])
        for row in range(start, start + self.length):
            action = self.act(observation, description, torch.randn(self._size))
            following, reward = self.step(action, speed)
            memory.observation[row], memory.action[row] = observation, action
            memory.reward[row], memory.next_observation[row] = reward, following
            observation = following

    def collect(
        self,
        speeds: Sequence[float],
        from_prior: Sequence[bool],
        as_context: Sequence[bool],
        context_size: int,
    ) -> list[Memory]:
        """A round of experience, task by task and episode by episode.

        Args:
          speeds: the tasks.
          from_prior: by episode, whether the description is from `N(0, I)`.
          as_context: by episode, whether later ones may see it as a context.
          context_size: transitions that a belief is from, drawn with replacement.
        """
        return [self._live(speed, from_prior, as_context, context_size) for speed in speeds]

    def _live(
        self,
        speed: float,
        from_prior: Sequence[bool],
        as_context: Sequence[bool],
        context_size: int,
    ) -> Memory:
        steps = len(from_prior) * self.length
        observed = (len(self._scale),)
        shapes = observed, (self._size,), (), observed
        memory = Memory(*(np.empty((steps, *shape), np.float32) for shape in shapes))
        shown: list[np.ndarray] = []
        for number, unknown in enumerate(from_prior):
            start = number * self.length
            belief = torch.zeros(self.latent_size), torch.ones(self.latent_size)
            if shown and not unknown:
                known = np.concatenate(shown)
                belief = self.infer(memory, self._rng.choice(known, context_size))
            self.episode(speed, belief, memory, start)
            if as_context[number]:
                shown.append(np.arange(start, start + self.length))
        return memory


def _make_env(episode_length: int) -> Any:
    return gymnasium.make(
        ID,
        max_episode_steps=episode_length,
        disable_env_checker=True,
        exclude_current_positions_from_observation=False,
    )
