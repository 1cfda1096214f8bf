"""The figures and videos of experiments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import jax
import numpy as np

from behavior_priors.envs.rollout import PolicyFn, rollout
from behavior_priors.envs.wrappers.decode import decode_action
from behavior_priors.keys import named_child
from behavior_priors.methods.method import LABELS
from behavior_priors.methods.models import Fitted, seen_by
from behavior_priors.methods.untaught import random_latents, uniform_actions
from behavior_priors.reports import figures, maze_figure, trajectory_figure
from behavior_priors.reports.titles import short_name
from behavior_priors.runs.metrics import read_jsonl
from behavior_priors.types import Env, Params, Prior, PRNGKey, State

PATHS = 40
"""Gripper paths in a panel of the trajectory figure."""

UNTAUGHT = {
    "prior": "skills from the prior",
    "latents": "random skills",
    "encoded": "the demonstrator's skills",
    "random": "random actions",
}
"""Ways to act before anything is learned, likewise."""


def learning_curves(
    workdirs: Sequence[Path],
    folder: Path,
    methods: Sequence[str],
    env: Env,
    measure: Literal["success_rate", "return_mean"] | None = None,
) -> None:
    """What evaluations gave against environment steps, `learning_curves.png`.

    Unless told, success where the environment measures it, else the return; several runs give a
    band.
    """
    measure = measure or ("success_rate" if env.measures_success else "return_mean")
    key, is_rate = f"eval/{measure}", measure == "success_rate"
    curves = {}
    for method in methods:
        runs = []
        for workdir in workdirs:
            rows = [r for r in read_jsonl(workdir / method / "metrics.jsonl") if key in r]
            if rows:
                steps = np.array([r["step"] for r in rows], float)
                runs.append((steps, np.array([r[key] for r in rows])))
        if runs:
            curves[LABELS.get(method, method)] = runs
    if curves:
        figures.learning_curves(
            folder / "learning_curves.png",
            curves,
            ylabel="success rate" if is_rate else "return",
            title=f"Learning {short_name(env.name)}",
            ylim=(-0.02, 1.02) if is_rate else None,
        )


def gripper_trajectories(
    folder: Path, env: Env, prior: Prior, params: Params, key: PRNGKey
) -> None:
    """PARROT's figure 5, `gripper_trajectories.png`: random actions without and with the prior.

    Of tabletop tasks only.
    """
    needed = {"ee_position", "object_position", "object_size", "object_present"}
    if not {*needed, "container_present"} <= env.observation_spec.keys():
        return
    scene = jax.jit(env.reset)(named_child(key, "scene"))

    def reset(key: PRNGKey) -> State:
        return scene._replace(key=key)

    fixed = env._replace(reset=reset)
    latent = decode_action(fixed, prior, params, None)

    def run(label: str, acted: Env, policy: PolicyFn) -> np.ndarray:
        episodes = jax.jit(lambda k: rollout(acted, policy, k, PATHS).observation["ee_position"])
        return np.asarray(episodes(named_child(key, label)))

    panels = {
        "without the prior": run("uniform", fixed, uniform_actions(env)),
        "with the prior": run("prior", latent, random_latents(prior.latent_size)),
    }
    present = np.asarray(scene.observation["object_present"]) > 0.5
    positions = np.asarray(scene.observation["object_position"])[present]
    half_sizes = np.asarray(scene.observation["object_size"])[present]
    if scene.observation["container_present"] > 0.5:
        *at, floor = np.asarray(scene.observation["container_position"])
        *inner, rim = np.asarray(scene.observation["container_size"])
        height = float(floor + rim)
        positions = np.concatenate([positions, [[*at, height / 2]]])
        half_sizes = np.concatenate([half_sizes, [[*inner, height / 2]]])
    low = np.minimum(np.concatenate(list(panels.values())).min((0, 1)), positions.min(0)) - 0.02
    high = np.concatenate(list(panels.values())).max((0, 1)) + 0.02
    trajectory_figure.gripper_trajectories(
        folder / "gripper_trajectories.png",
        panels,
        object_positions=positions,
        object_half_sizes=half_sizes,
        workspace=(np.array([low[0], low[1], 0.0]), high),
        object_labels=[label.partition(" at ")[0] for label in env.info["scenes"][0]],
        title="Gripper paths of random actions",
    )


def gripper_paths(folder: Path, env: Env, fitted: Fitted, key: PRNGKey) -> None:
    """`gripper_trajectories` of a model that is a prior over actions; nothing of another one."""
    if isinstance(fitted.model, Prior):
        seen = seen_by(env, fitted.config)
        gripper_trajectories(folder, seen, fitted.model, fitted.params, key)


def maze_paths(folder: Path, policies: Mapping[str, tuple[Env, PolicyFn]], key: PRNGKey) -> None:
    """Where policies go in a maze, `maze_paths.png`; nothing of environments that are none.

    Args:
      folder: of the figure.
      policies: by a label, and where each acts.
      key: consumed.
    """
    env = next(iter(policies.values()))[0]
    size, render = env.info.get("cells"), env.render
    if size is None or render is None:
        return

    def run(label: str, acted: Env, policy: PolicyFn) -> np.ndarray:
        episodes = jax.jit(lambda k: rollout(acted, policy, k, PATHS).observation["position"])
        return np.asarray(episodes(named_child(key, label)))

    panels = {UNTAUGHT.get(label, label): run(label, *acts) for label, acts in policies.items()}
    background = jax.jit(env.reset)(named_child(key, "background"))
    maze_figure.maze_paths(
        folder / "maze_paths.png",
        panels,
        background=np.asarray(render(background, 640, 640)),
        size=size,
        title=f"{PATHS} paths of at most {env.episode_length * env.steps_per_action} steps",
    )
