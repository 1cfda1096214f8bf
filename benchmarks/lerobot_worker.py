"""LeRobot's own loader, in an interpreter of its own: `python lerobot_worker.py FOLDER`.

Answers `open` with the seconds that opening the dataset takes, and `batch` with those of a random
batch of 256 frames, and a sum by which batches can be compared.
"""

from __future__ import annotations

import json
import sys
import time


def main() -> None:
    """Answers line by line."""
    import numpy as np
    import torch
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    root, dataset = sys.argv[1], None
    for line in sys.stdin:
        command, *numbers = line.split()
        began = time.perf_counter()
        if command == "open":
            dataset = LeRobotDataset("bench/states", root=root)
            answer = [float(len(dataset))]
        else:
            assert dataset is not None
            index = np.random.default_rng(int(numbers[0])).integers(0, len(dataset), 256)
            items = [dataset[int(i)] for i in index]
            keys = ("observation.state", "next.observation.state", "action")
            batch = {key: torch.stack([item[key] for item in items]) for key in keys}
            answer = [float(batch[key].double().sum()) for key in keys]
        print(json.dumps([time.perf_counter() - began, answer]), flush=True)


if __name__ == "__main__":
    main()
