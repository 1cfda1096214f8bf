"""Episodes of rows `(observation, action, reward)`.

A row's observation is what its action was chosen from. What an episode's last action led to is
known only where the file has the next observations too; otherwise the last observation is that of
the last row, whose action is left out.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from behavior_priors.data.layout import EpisodeBatch
from behavior_priors.data.readers.base import Tally
from behavior_priors.data.readers.selection import as_float32


@dataclasses.dataclass(frozen=True)
class Rows:
    """Rows of whole episodes.

    Attributes:
      observation: named arrays `[n, ...]`.
      action: `[n, action_size]`, or `[n]`.
      stops: `[E]`, the row after each episode's last one.
      terminated: `[n]` bool, the row's action ended the task.
      reward: `[n]`.
      next_observation: what the actions led to, where the file has it.
      state: named arrays `[n, ...]` of the simulation's state.
    """

    observation: Mapping[str, np.ndarray]
    action: np.ndarray
    stops: np.ndarray
    terminated: np.ndarray
    reward: np.ndarray | None = None
    next_observation: Mapping[str, np.ndarray] | None = None
    state: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)


def to_batch(rows: Rows, tally: Tally) -> tuple[EpisodeBatch, np.ndarray]:
    """Joins rows to episodes.

    Returns:
      The episodes that have an action, and the number `[E]` that each has among `rows.stops`.
    """
    stops = rows.stops
    starts = np.concatenate([[0], stops[:-1]])
    following = rows.next_observation
    steps = stops - starts if following is not None else stops - starts - 1
    kept = np.flatnonzero(steps > 0)
    is_kept = np.repeat(steps > 0, stops - starts)
    has_action = is_kept.copy()
    if following is None:
        has_action[stops - 1] = False
        tally.lost_actions += len(stops)
        tally.lost_terminations += int(rows.terminated[stops - 1].sum())
    tally.empty_episodes += len(stops) - len(kept)
    last = starts[kept] + steps[kept] - 1
    vectors = rows.action if rows.action.ndim == 2 else rows.action[:, None]
    observation = {}
    for name, array in rows.observation.items():
        if following is None:
            observation[name] = array if is_kept.all() else array[is_kept]
        else:
            observation[name] = np.insert(array, stops, following[name][stops - 1], axis=0)
    batch = EpisodeBatch(
        observation=observation,
        action=as_float32(vectors[has_action]),
        length=steps[kept].astype(np.int32),
        reward=None if rows.reward is None else as_float32(rows.reward[has_action]),
        terminated=rows.terminated[last],
        initial_state={name: array[starts[kept]] for name, array in rows.state.items()},
    )
    return batch, kept
