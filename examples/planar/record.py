"""Records a scripted pusher, in robomimic's HDF5, in Minari's or in LeRobot's format.

    python -m examples.planar.record --output=planar.hdf5
    python -m examples.planar.record --output=planar_lerobot --format=lerobot

No goal is in the corner where the new task's goals are. Minari's format needs minari, LeRobot's
`lerobot[dataset]` (Python 3.12): each is written by the library whose it is.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

from examples.planar.planar import ACTION_HIGH, ACTION_LOW, FINGER, PIXELS, PUCK

ENV = "examples.planar.planar:Planar-v0"
FPS = 20

Episode = dict[str, Any]
"""`observations`, one more than `actions`, `rewards` and `terminated`."""


def push(state: np.ndarray, goal: np.ndarray) -> np.ndarray:
    """Goes around the puck until it is between the finger and the goal, and pushes.

    Args:
      state: `[4]`, finger and puck.
      goal: `[2]`.

    Returns:
      `[2]`, metres.
    """
    finger, puck = state[:2].astype(float), state[2:].astype(float)
    away = (goal - puck) / max(np.linalg.norm(goal - puck), 1e-6)
    offset = finger - puck
    distance = np.linalg.norm(offset)
    behind, beside = -offset @ away, offset @ np.array([-away[1], away[0]])
    touching = FINGER + PUCK
    if behind > 0.7 * distance:
        # the puck turns aside where it is not met in its middle
        aim = puck - away * (touching - 0.01) - 1.5 * beside * np.array([-away[1], away[0]])
        return np.clip(aim + 0.02 * away - finger, ACTION_LOW, ACTION_HIGH)
    turn = np.sign(offset[0] * away[1] - offset[1] * away[0]) or 1.0
    angle = np.arctan2(offset[1], offset[0]) - 0.35 * turn
    around = puck + (touching + 0.018) * np.array([np.cos(angle), np.sin(angle)])
    return np.clip(around - finger, ACTION_LOW, ACTION_HIGH)


def episodes(count: int, noise: float, seed: int) -> Iterator[Episode]:
    """Successful ones."""
    env = gymnasium.make(ENV, goals="elsewhere")
    rng = np.random.default_rng(seed)
    scale = noise * (ACTION_HIGH - ACTION_LOW) / 2
    kept = tried = 0
    while kept < count:
        observation, _ = env.reset(seed=seed * 100_000 + tried)
        tried += 1
        made: Episode = {"observations": [observation], "actions": [], "rewards": []}
        over = terminated = False
        while not over:
            action = push(observation["state"], observation["goal"]) + scale * rng.normal(size=2)
            action = np.clip(action, ACTION_LOW, ACTION_HIGH).astype(np.float32)
            observation, reward, terminated, truncated, _ = env.step(action)
            over = terminated or truncated
            made["observations"].append(observation)
            made["actions"].append(action)
            made["rewards"].append(float(reward))
        if terminated:
            kept += 1
            yield made
    print(f"{kept} of {tried} episodes reached their goal")


def write_robomimic(made: Iterator[Episode], output: str) -> None:
    """One HDF5 file, with a group an episode."""
    import h5py

    with h5py.File(output, "w") as file:
        data = file.create_group("data")
        for number, episode in enumerate(made):
            demo = data.create_group(f"demo_{number}")
            steps = len(episode["actions"])
            demo.attrs["num_samples"] = steps
            demo["actions"] = np.stack(episode["actions"])
            demo["rewards"] = np.array(episode["rewards"], np.float32)
            demo["dones"] = np.arange(steps) == steps - 1
            for name in episode["observations"][0]:
                rows = np.stack([x[name] for x in episode["observations"]])
                demo[f"obs/{name}"], demo[f"next_obs/{name}"] = rows[:-1], rows[1:]


def write_minari(made: Iterator[Episode], output: str) -> None:
    """A dataset of Minari's, in the folder where Minari keeps its own."""
    import minari
    from minari.data_collector import EpisodeBuffer

    buffers = [
        EpisodeBuffer(
            observations={
                name: np.stack([x[name] for x in episode["observations"]])
                for name in episode["observations"][0]
            },
            actions=np.stack(episode["actions"]),
            rewards=episode["rewards"],
            terminations=[*[False] * (len(episode["actions"]) - 1), True],
            truncations=[False] * len(episode["actions"]),
        )
        for episode in made
    ]
    minari.create_dataset_from_buffers(output, buffers, env=gymnasium.make(ENV))


def write_lerobot(made: Iterator[Episode], output: str) -> None:
    """A folder of LeRobot's, version 3, with the camera as a video."""
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    camera = {"dtype": "video", "shape": (PIXELS, PIXELS, 3)}
    numbers: dict[str, dict[str, Any]] = {
        "observation.state": {"dtype": "float32", "shape": (4,), "names": None},
        "observation.environment_state": {"dtype": "float32", "shape": (2,), "names": None},
        "observation.images.camera": {**camera, "names": ["height", "width", "channels"]},
        "action": {"dtype": "float32", "shape": (2,), "names": ["x", "y"]},
        "next.reward": {"dtype": "float32", "shape": (1,), "names": None},
        "next.done": {"dtype": "bool", "shape": (1,), "names": None},
    }
    dataset = LeRobotDataset.create("planar/pusher", FPS, numbers, root=output, use_videos=True)
    for episode in made:
        last = len(episode["actions"]) - 1
        for step, action in enumerate(episode["actions"]):
            seen = episode["observations"][step]
            dataset.add_frame(
                {
                    "observation.state": seen["state"],
                    "observation.environment_state": seen["goal"],
                    "observation.images.camera": seen["camera"],
                    "action": action,
                    "next.reward": np.array([episode["rewards"][step]], np.float32),
                    "next.done": np.array([step == last]),
                    "task": "push the puck to its goal",
                }
            )
        dataset.save_episode()
    dataset.finalize()


FORMATS: dict[str, Callable[[Iterator[Episode], str], None]] = {
    "robomimic": write_robomimic,
    "minari": write_minari,
    "lerobot": write_lerobot,
}


def main() -> None:
    """Runs what the command line describes."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--output", required=True, help="file, folder or name of the dataset")
    parser.add_argument("--format", choices=FORMATS, default="robomimic")
    parser.add_argument("--episodes", type=int, default=200)
    parser.add_argument("--noise", type=float, default=0.2, help="share of half the bounds")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    if Path(given.output).exists():
        parser.error(f"--output={given.output} is there already")
    FORMATS[given.format](episodes(given.episodes, given.noise, given.seed), given.output)


if __name__ == "__main__":
    main()
