"""What lies outside of the package, run as its documentation says, at a tiny size.

The recipes of WORKSPACE.md are followed here too: `examples/own_parts` adds a prior and a learner,
`examples/push` and `examples/parking` add an environment.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from behavior_priors.data.episodes import EpisodeReader
from behavior_priors.envs import probes
from behavior_priors.envs.probes import Probe
from behavior_priors.envs.registry import make_env
from behavior_priors.envs.rollout import rollout
from behavior_priors.errors import UserError
from behavior_priors.learner import Learner
from behavior_priors.training.fit import FitConfig, fit
from behavior_priors.types import ActionSpec, ArraySpec, State, Transition
from examples.own_parts.cvae_prior import CVAEConfig, make_cvae
from examples.own_parts.td3 import TD3Config, make_td3
from tests.experiments import runs
from tests.experiments.forks import Forks
from tests.experiments.runs import Program, Result
from tests.learners.test_sac_probes import collect

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"

TINY = (
    "--flow.couplings=2",
    "--flow.encoder_widths=8",
    "--flow.conditioner_widths=8",
    "--fit.steps=40",
    "--fit.steps_per_epoch=20",
    "--sac.policy_widths=8",
    "--sac.critic_widths=8",
    "--loop.num_envs=4",
    "--loop.steps=960",
    "--loop.epoch_steps=480",
    "--loop.warmup_steps=240",
    "--loop.batch_size=16",
    "--run.eval_every=1",
    "--run.eval_episodes=4",
    "--report_episodes=4",
    "--eval_episodes=8",
    "--video_episodes=0",
)


class Runner:
    """Runs programs in one folder."""

    def __init__(self, folder: Path, forks: Forks) -> None:
        self.folder, self.forks = folder, forks

    def __call__(self, module: str, *arguments: str) -> Result:
        if module.startswith("experiments."):
            return self.forks.succeed(module, *arguments, folder=self.folder)
        return Program(module, arguments, folder=self.folder).succeed()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, forks: Forks) -> Runner:
    return Runner(tmp_path_factory.mktemp("examples"), forks)


def test_a_mujoco_task_of_ones_own(run: Runner) -> None:
    """PARROT on demonstrations of other goals."""
    result = run(
        "experiments.parrot",
        f"--flagfile={EXAMPLES / 'push' / 'push.flags'}",
        "--workdir=push",
        "--data_episodes=40",
        *TINY,
    )
    summary = runs.read_json(run.folder / "push" / "summary.json")
    assert summary["data/episodes"] == 40
    assert {"parrot/success_rate", "sac/success_rate", "prior/push_rate"} <= summary.keys()
    assert summary["parrot/updates"] > 0
    assert "push" in result.stdout
    metadata = EpisodeReader(run.folder / "push" / "data").metadata
    assert (metadata.environment, metadata.policy) == ("push/anywhere", "scripted")
    assert (run.folder / "push" / "figures" / "learning_curves.png").is_file()


def test_a_gymnasium_task_of_ones_own(run: Runner) -> None:
    """The recording in the repository is converted as the preset says, and PARROT trained on it."""
    (command,) = re.findall(
        r"python -m (experiments\.convert .*?)\n#   python",
        (EXAMPLES / "parking" / "parking.flags").read_text(),
        flags=re.DOTALL,
    )
    words = command.replace("\\\n#", " ").replace("examples/", f"{EXAMPLES}/").split()
    run(*words)
    reader = EpisodeReader(run.folder / "data" / "parking")
    assert reader.num_episodes == 60
    assert reader.read().terminated.all()
    assert np.abs(reader.read_array("action")).max() == 1.0
    run(
        "experiments.parrot",
        f"--flagfile={EXAMPLES / 'parking' / 'parking.flags'}",
        "--workdir=parking",
        *TINY,
    )
    summary = runs.read_json(run.folder / "parking" / "summary.json")
    assert {"parrot/success_rate", "sac/success_rate", "prior/success_rate"} <= summary.keys()
    assert summary["data/episodes"] == 60


def test_tasks_of_ones_own_that_are_inferred(run: Runner) -> None:
    """The list is written as the preset says, and PEARL goes on where it was."""
    run("examples.hidden_goal.hidden_goal", "goals.json")
    arguments = (
        f"--flagfile={EXAMPLES / 'hidden_goal' / 'hidden_goal.flags'}",
        "--workdir=hidden_goal",
        "--product_of_gaussians.widths=8",
        "--sac.policy_widths=8",
        "--sac.critic_widths=8",
        "--meta_loop.epoch_iterations=1",
        "--meta_loop.updates_per_iteration=4",
        "--adapt.repeats=1",
        "--run.eval_every=1",
        "--run.checkpoint_every=1",
    )
    run("experiments.pearl", *arguments, "--meta_loop.iterations=1", "--video_episodes=2")
    assert (run.folder / "hidden_goal" / "videos" / "pearl.mp4").is_file()
    run("experiments.pearl", *arguments, "--meta_loop.iterations=2", "--video_episodes=0")
    summary = runs.read_json(run.folder / "hidden_goal" / "summary.json")
    assert summary["pearl/steps"] == 45 * (100 + 2 * 60)
    assert -20 < summary["pearl/return_mean"] < 0


def test_a_trained_policy_demonstrates(run: Runner) -> None:
    """Data for a task without a scripted policy come from a policy that was trained there."""
    result = run(
        "experiments.collect",
        "--checkpoint=push",
        "--trust=examples.push.push_env",
        "--method=parrot",
        "--episodes=3",
        "--side_by_side=2",
        "--keep_failures",
        "--output=again",
    )
    assert "3 episodes" in result.stdout
    reader = EpisodeReader(run.folder / "again")
    assert (reader.metadata.environment, reader.metadata.policy) == ("push/north_east", "parrot")
    assert reader.read().success is not None
    assert reader.lengths.tolist() == [60, 60, 60]


def test_a_prior_and_a_learner_of_ones_own(run: Runner) -> None:
    """They learn, resume and are evaluated as those of the library."""
    command = (
        "experiments.run",
        f"--flagfile={EXAMPLES / 'own_parts' / 'push.flags'}",
        "--workdir=own",
        "--data_episodes=40",
        "--cvae_fit.steps=40",
        "--cvae_fit.steps_per_epoch=20",
        "--cvae.widths=8",
        "--td3.widths=8",
        "--loop.num_envs=4",
        "--loop.steps=960",
        "--loop.epoch_steps=480",
        "--loop.warmup_steps=240",
        "--loop.batch_size=16",
        "--run.eval_every=1",
        "--run.eval_episodes=4",
        "--report_episodes=4",
        "--eval_episodes=8",
        "--video_episodes=0",
    )
    assert "own      " in run(*command).stdout
    summary = runs.read_json(run.folder / "own" / "summary.json")
    assert {"own/success_rate", "cvae/validation_loss", "prior/push_rate"} <= summary.keys()
    assert summary["own/updates"] == (960 - 240) // 2
    again = run(*command)
    assert "collect" not in again.stdout
    assert runs.without_seconds(runs.read_json(run.folder / "own" / "summary.json")) == (
        runs.without_seconds(summary)
    )
    trust = "--trust=examples.push.push_env,examples.own_parts.cvae_prior,examples.own_parts.td3"
    run("experiments.evaluate", "--checkpoint=own", "--episodes=8", trust)
    evaluation = runs.read_json(run.folder / "own" / "evaluation.json")
    assert evaluation["own/success_rate"] == summary["own/success_rate"]


def test_the_demonstrator_of_the_push_task() -> None:
    """It succeeds; random actions never bring the ball into a corner."""
    env = make_env("examples.push.push_env:south_west")

    def uniform(_state: State, key: jax.Array) -> jax.Array:
        return jax.random.uniform(key, (2,), minval=-1.0, maxval=1.0)

    assert env.demonstrate is not None
    for policy, low, high in ((env.demonstrate, 0.75, 1.0), (uniform, 0.0, 0.01)):
        episodes = jax.jit(lambda k, p=policy: rollout(env, p, k, 128))(jax.random.key(0))
        assert low <= float(episodes.final_success.mean()) <= high


def test_environments_by_module_that_do_not_exist() -> None:
    cases = {
        "examples.push.push_env:north": "north is unknown; .*push_env: has: anywhere, north_east",
        "examples.pull:north": "there is no module examples.pull",
        "nowhere:north": "there is no module nowhere",
        "examples.own_parts.td3:x": "has no FAMILY",
    }
    for name, message in cases.items():
        with pytest.raises(UserError, match=message):
            make_env(name)


def test_the_cvae_learns_two_modes() -> None:
    """Actions are -0.5 or 0.5, whatever is seen; most latents decode to about one of the two."""
    spec = {"x": ArraySpec((1,))}
    prior = make_cvae(CVAEConfig(widths=(32,)), spec, ActionSpec(1))
    key, data_key = jax.random.split(jax.random.key(0))
    action = jnp.where(jax.random.bernoulli(data_key, shape=(512, 1)), 0.5, -0.5)
    batch = {"observation": {"x": jnp.zeros((512, 1))}, "action": action}
    config = FitConfig(steps=1_000, steps_per_epoch=500)
    params = fit(prior, config, batch, batch, key).best_params
    features = prior.encode(params, {"x": jnp.zeros((256, 1))})
    latents = jax.random.normal(key, (256, prior.latent_size))
    decoded = prior.decode(params, latents, features)[:, 0]
    assert np.mean(np.abs(np.abs(decoded) - 0.5) < 0.15) > 0.75
    assert 0.3 < np.mean(decoded > 0) < 0.7


def trained_on(probe: Probe) -> tuple[Learner, Any, Transition]:
    """TD3 after 600 updates on random experience."""
    learner = make_td3(
        TD3Config(widths=(16,), learning_rate=1e-2, target_rate=0.1, discount=0.5),
        probe.env.observation_spec,
        probe.env.action_spec,
    )
    transitions = collect(probe.env, jax.random.key(0))
    rows = jax.random.randint(jax.random.key(1), (600, 128), 0, len(transitions.reward))
    batches = jax.tree.map(lambda x: x[rows], transitions)
    state = learner.init(jax.random.key(2))
    state, _ = jax.lax.scan(learner.update, state, batches)
    return learner, state, transitions


def test_td3_climbs_its_critic() -> None:
    """The best action is half of the cue."""
    learner, state, _ = trained_on(probes.cued_action())
    for cue in (-1.0, 1.0):
        observation = {"cue": jnp.array([cue])}
        action = learner.act(state.policy, observation, jax.random.key(0), explore=False).action
        assert abs(float(action[0]) - 0.5 * cue) < 0.1


def test_td3_bootstraps_through_time_limits_only() -> None:
    """At a discount of 1/2, reward 1 for ever is worth 2; for four steps more, 15/8, then 7/4."""
    for probe, value in ((probes.time_limit(), 2.0), (probes.deadline(), (15 + 14 + 12 + 8) / 32)):
        learner, state, transitions = trained_on(probe)
        _, metrics = learner.update(state, transitions)
        assert abs(float(metrics["q_mean"]) - value) < 0.1


def test_td3_needs_bounds() -> None:
    with pytest.raises(UserError, match="needs bounded actions"):
        make_td3(TD3Config(), {"x": ArraySpec((1,))}, ActionSpec(1, None))
