"""Records a scripted driver in robomimic's HDF5 layout: all bays but the new task's.

python -m examples.parking.record --output=examples/parking/parking.hdf5
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gymnasium
import h5py
import numpy as np

from behavior_priors.config import flags
from behavior_priors.config.ranges import Count, Seed, Weight
from behavior_priors.programs import entry
from examples.parking.parking import ACTION_HIGH, ACTION_LOW, BAY_Y, BAYS, WHEELBASE, bay_x

NEW_BAY = 5
LANE_Y = 5.0  # where the turn into a bay ends, metres


@dataclass(frozen=True)
class RecordConfig:
    """The program's flags.

    Attributes:
      output: HDF5 file to write.
      episodes: successful episodes to record.
      noise: standard deviation on the driver's actions, as a share of half their range.
      seed: of everything random.
    """

    output: str
    episodes: Count = 60
    noise: Weight = 0.1
    seed: Seed = 0


def drive(pose: np.ndarray, speed: float, bay: int) -> np.ndarray:
    """Pure pursuit of the bay's middle line, slower towards its end.

    Args:
      pose: `[4]`, x, y, cosine and sine of the heading.
      speed: metres per second.
      bay: where to.

    Returns:
      `[2]`, acceleration and steering.
    """
    position, ahead = pose[:2], pose[2:]
    line = bay_x(bay)
    distance = abs(position[0] - line)
    turning = distance > 4.0
    goal = np.array([line, position[1] if turning else max(LANE_Y, position[1] + 2.0)])
    if turning:  # along the lane, keeping to its middle
        goal = np.array([position[0] + np.sign(line - position[0]) * 3.0, 2.5])
    way = goal - position
    curvature = 2.0 * (ahead[0] * way[1] - ahead[1] * way[0]) / max(way @ way, 1e-3)
    steering = np.arctan(WHEELBASE * curvature)
    left = max(BAY_Y + 0.3 - position[1], 0.0)
    wanted = min(2.5, np.sqrt(2.0 * 1.0 * left))
    return np.clip([2.0 * (wanted - speed), steering], ACTION_LOW, ACTION_HIGH)


def main() -> None:
    """Runs what the command line describes."""
    config = flags.read(RecordConfig)
    rng = np.random.default_rng(config.seed)
    bays = [bay for bay in range(BAYS) if bay != NEW_BAY]
    envs = [gymnasium.make("examples.parking.parking:Parking-v0", bay=bay) for bay in bays]
    half_range = (ACTION_HIGH - ACTION_LOW) / 2
    kept = tried = 0
    with h5py.File(config.output, "w", libver="latest") as file:
        data = file.create_group("data")
        while kept < config.episodes:
            number, tried = tried % len(bays), tried + 1
            env, bay = envs[number], bays[number]
            observation, _ = env.reset(seed=config.seed * 100_000 + tried)
            seen, over, terminated = [observation], False, False
            actions: list[np.ndarray] = []
            rewards: list[float] = []
            while not over:
                action = drive(observation["pose"], observation["speed"][0], bay)
                action += config.noise * half_range * rng.normal(size=2)
                action = np.clip(action, ACTION_LOW, ACTION_HIGH).astype(np.float32)
                observation, reward, terminated, truncated, _ = env.step(action)
                over = terminated or truncated
                seen.append(observation)
                actions.append(action)
                rewards.append(float(reward))
            if terminated:
                demo = data.create_group(f"demo_{kept}")
                demo.attrs["num_samples"] = len(actions)
                arrays: dict[str, Any] = {
                    "actions": actions,
                    "rewards": np.array(rewards, np.float32),
                }
                arrays["dones"] = [False] * (len(actions) - 1) + [True]
                for name in observation:
                    arrays[f"obs/{name}"] = [o[name] for o in seen[:-1]]
                    arrays[f"next_obs/{name}"] = [o[name] for o in seen[1:]]
                for name, rows in arrays.items():
                    demo.create_dataset(name, data=np.asarray(rows))
                kept += 1
    print(f"{kept} of {tried} episodes parked; {config.output}")


if __name__ == "__main__":
    flags.define(RecordConfig)
    entry.run(main)
