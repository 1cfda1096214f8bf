"""PEARL (Rakelly et al. 2019): learn many tasks, and new ones from a few episodes of them.

    python -m experiments.pearl --flagfile=experiments/flags/pearl/quick_dense.flags

It is `experiments.run` with the paper's method. The tasks are in `tasks.npz` of the workdir, the
returns of every test task and trajectory in `pearl/adaptation.npz`.
"""

from __future__ import annotations

from behavior_priors.methods.presets import PEARL
from experiments import run

if __name__ == "__main__":
    run.start(PEARL)
