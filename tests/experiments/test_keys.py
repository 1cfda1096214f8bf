"""No two uses of a run's seed are alike: all keys of whole programs are recorded and compared."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import jax
import pytest

from behavior_priors.config import flags
from behavior_priors.data.collect import collect
from behavior_priors.keys import named_child, named_generator, named_key
from behavior_priors.methods import demonstrations, presets
from behavior_priors.methods.command_line import Preset
from experiments import run
from tests.experiments.settings import config_of
from tests.experiments.test_pearl import TINY as TINY_PEARL
from tests.key_log import KeyLog

SEED = 3
LEARNING = (
    "--data_episodes=12",
    "--fit.steps=2",
    "--fit.steps_per_epoch=1",
    "--fit.batch_size=4",
    "--sac.policy_widths=8",
    "--sac.critic_widths=8",
    "--loop.num_envs=2",
    "--loop.steps=80",
    "--loop.epoch_steps=40",
    "--loop.warmup_steps=40",
    "--loop.batch_size=4",
    "--loop.updates_per_step=0.5",
    "--run.eval_every=1",
    "--run.eval_episodes=2",
    "--report_episodes=2",
    "--eval_episodes=2",
    "--video_episodes=0",
)
PARROT = (
    "--env=examples.push.push_env:north_east",
    "--data_env=examples.push.push_env:anywhere,examples.push.push_env:north_west",
    "--methods=parrot,bc_sac",
    "--flow.couplings=2",
    "--flow.encoder_widths=8",
    "--flow.conditioner_widths=8",
    "--bc.fit.steps=2",
    "--bc.fit.steps_per_epoch=1",
    "--bc.fit.batch_size=4",
)
SPIRL = (
    "--env=point/dense?episode_length=20",
    "--data_env=point/dense?episode_length=20",
    "--skill.prior_observation=position",
    "--skill.decoder_observation=position",
    "--skill.horizon=2",
    "--skill.latent_size=3",
    "--skill.lstm_width=8",
    "--skill.embedding_width=8",
    "--skill.decoder_widths=8",
    "--skill.prior_widths=8",
    "--sac.value_network",
)


def words(key: Any) -> bytes:
    return jax.random.key_data(key).tobytes()


@pytest.mark.parametrize(
    ("preset", "arguments", "uses"),
    [
        (
            presets.PARROT,
            (*LEARNING, *PARROT),
            ("collect", "report", "learn/parrot", "learn/bc_sac"),
        ),
        (presets.SPIRL, (*LEARNING, *SPIRL), ("collect", "report", "learn/spirl")),
        (
            presets.PEARL,
            (*TINY_PEARL, "--figures"),
            ("oracle", "learn/pearl", "evaluate/training tasks"),
        ),
    ],
    ids=["parrot", "spirl", "pearl"],
)
def test_no_two_uses_of_a_seed_are_alike(
    preset: Preset,
    arguments: tuple[str, ...],
    uses: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    arguments = (*arguments, f"--seed={SEED}", f"--workdir={tmp_path / 'run'}")
    config = config_of(preset, *arguments)
    monkeypatch.setattr(flags, "read", lambda _: config)
    monkeypatch.setattr(demonstrations, "collect", functools.partial(collect, round_size=16))
    log = KeyLog()
    with log.listen():
        run.main(preset)
    jax.effects_barrier()
    assert log.used_twice() == []
    assert log.met() == []
    # and so no episode of the evaluation begins as one of those that were learned from
    evaluated = log.descend_from(words(named_key(SEED, "evaluate")))
    assert len(evaluated) > 10
    for use in uses:
        others = log.descend_from(words(named_key(SEED, *use.split("/"))))
        assert len(others) > 10, use
        assert not others & evaluated, use


def test_the_record_finds_keys_that_meet() -> None:
    log = KeyLog()
    with log.listen():
        key = jax.random.key(8123)
        learning, evaluating = jax.random.split(key)
        collecting = jax.random.fold_in(key, 1)
        jax.random.normal(learning)
        jax.vmap(jax.random.uniform)(evaluating[None])
    jax.effects_barrier()
    assert words(evaluating) == words(collecting)
    (met,) = log.met()
    assert met.count("test_keys.py") == 2
    assert len(log.used_twice()) == 1  # the root, split here and folded there
    assert words(learning) in log.descend_from(words(key))


def test_keys_differ_by_seed_and_by_every_part_of_a_name() -> None:
    names = [(), ("learn",), ("learn", "sac"), ("learn", "parrot"), ("evaluate",)]
    keys = {words(named_key(seed, *name)) for seed in (0, 1) for name in names}
    assert len(keys) == 2 * len(names)
    assert words(named_key(0, "learn")) == words(named_child(jax.random.key(0), "learn"))
    draws = {named_generator(seed, name).integers(2**62) for seed in (0, 1) for name in "ab"}
    assert len(draws) == 4
