"""Reading files in which every episode has arrays of its own, such as Minari's and robomimic's."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from behavior_priors.data.layout import EpisodeBatch
from behavior_priors.data.readers.base import Batches, ReadConfig, Recording, Tally, only_good
from behavior_priors.data.readers.group_facts import Facts, read_facts
from behavior_priors.data.readers.groups import (
    GroupLayout,
    Groups,
    ReadFn,
    check_actions,
    check_episode,
    choose_observations,
)
from behavior_priors.data.readers.selection import Chosen, as_float32, specs


def read_groups(
    groups: Groups,
    layout: GroupLayout,
    config: ReadConfig,
    *,
    environment: str | None = None,
    notes: Sequence[str] = (),
) -> Recording:
    """Decides what is read of a file, and checks that all episodes have it.

    Args:
      groups: its episodes, one at least.
      layout: how it calls things.
      config: what is wanted.
      environment: what it says that it was recorded in.
      notes: what the user should know about it beforehand.

    Raises:
      UserError: an episode lacks what is needed, or has it in another shape.
    """
    said = list(notes)
    chosen = choose_observations(groups, layout, config, said)
    action_size = check_actions(groups)
    for label in groups.episodes:
        check_episode(groups, label, layout, chosen, config)
    facts = read_facts(groups, layout, chosen, config, said)
    keys = {f"observation/{c.name}": c.key for c in chosen}
    keys |= {"action": "actions", "reward": "rewards"}

    def batches(tally: Tally) -> Batches:
        with groups.open() as read:
            for label in groups.episodes:
                batch = _episode(groups, label, layout, chosen, action_size, facts, read, tally)
                if not len(batch.action):
                    tally.empty_episodes += 1
                    continue
                batch = only_good(groups.path, batch, [label], keys, config, tally)
                if len(batch.length):
                    yield _with_gaps(batch, facts)

    return Recording(
        path=groups.path,
        format=layout.name,
        observation=specs(chosen),
        keys={c.name: c.source for c in chosen},
        action_size=action_size,
        has_reward=facts.has_reward,
        num_episodes=len(groups.episodes),
        batches=batches,
        environment=environment,
        notes=said,
    )


def _episode(
    groups: Groups,
    label: str,
    layout: GroupLayout,
    chosen: Sequence[Chosen],
    action_size: int,
    facts: Facts,
    read: ReadFn,
    tally: Tally,
) -> EpisodeBatch:
    """One episode, of no steps if it has no action whose outcome is known."""
    size = groups.episodes[label]["actions"].count
    terminated, success = facts.terminated[label], facts.success[label]
    steps, last = size, slice(size - 1, size)
    if not layout.extra_rows and not facts.following[label] and size:
        steps -= 1  # the file does not have what the last action led to
        tally.lost_actions += 1
        tally.lost_terminations += terminated
        terminated = False
    observation = {}
    for c in chosen if steps else ():
        observation[c.name] = c.take(read(label, c.key, slice(None)))
        following = layout.following_key(c)
        if following is not None and facts.following[label]:
            final = c.take(read(label, following, last))
            observation[c.name] = np.concatenate([observation[c.name], final])
    kept = slice(0, steps)
    return EpisodeBatch(
        observation=observation,
        action=as_float32(read(label, "actions", kept)).reshape(steps, action_size),
        length=np.array([steps], np.int32),
        reward=(
            as_float32(read(label, "rewards", kept)).reshape(steps) if facts.reward[label] else None
        ),
        terminated=np.array([terminated]),
        success=np.array([bool(success)]) if facts.has_success else None,
        initial_state={name: value[None] for name, value in facts.state[label].items()},
        info=(
            {"has_success": np.array([success is not None])}
            if facts.has_success and None in facts.success.values()
            else {}
        ),
    )


def _with_gaps(batch: EpisodeBatch, facts: Facts) -> EpisodeBatch:
    """An episode with the arrays of the others: rewards that it does not have are NaN."""
    if batch.reward is not None or not facts.has_reward:
        return batch
    return dataclasses.replace(batch, reward=np.full(len(batch.action), np.nan, np.float32))
