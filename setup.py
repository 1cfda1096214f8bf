"""Packaging: what behavior_priors needs, in ranges; `requirements/` has the exact versions."""

from __future__ import annotations

import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent


def read_version() -> str:
    """Version as the package states it, read without importing the package (and JAX with it)."""
    source = (ROOT / "behavior_priors" / "version.py").read_text(encoding="utf-8")
    match = re.search(r'^__version__ = "([^"]+)"$', source, flags=re.MULTILINE)
    if match is None:
        raise RuntimeError("behavior_priors/version.py states no __version__")
    return match.group(1)


def read_readme() -> str:
    """Long description for package indexes."""
    readme = ROOT / "README.md"
    return readme.read_text(encoding="utf-8") if readme.exists() else ""


setup(
    name="behavior-priors",
    version=read_version(),
    description="Behaviour priors for reinforcement learning, in JAX",
    long_description=read_readme(),
    long_description_content_type="text/markdown",
    author="The behavior-priors authors",
    license="Apache-2.0",
    license_files=["LICENSE"],
    python_requires=">=3.11",
    packages=find_packages(
        include=[
            f"{package}{suffix}"
            for package in ("behavior_priors", "experiments", "launch")
            for suffix in ("", ".*")
        ]
    ),
    package_data={
        "behavior_priors": ["**/*.xml", "py.typed", "pretrained/*/*"],
        "experiments": ["flags/**/*.flags"],
    },
    entry_points={"console_scripts": ["behavior-priors = behavior_priors.programs.console:main"]},
    install_requires=[
        "absl-py>=2.1",
        "brax>=0.14.2",
        "chex>=0.1.90",
        "distrax>=0.1.7",
        "flax>=0.12",
        "imageio[ffmpeg]>=2.34",
        "jax>=0.10",
        "matplotlib>=3.9",
        "mujoco>=4.0,<5",
        "mujoco-mjx>=3.17",
        "numpy>=2.0",
        "optax>=0.2.5",
        # The v1 interface is still being renamed between minor versions.
        "orbax-checkpoint>=0.12,<0.13",
        "tensorboardX>=2.6",
        "tqdm>=4.66",
    ],
    extras_require={
        "cuda": ["jax[cuda13]>=0.10"],
        "cuda12": ["jax[cuda12]>=0.10"],
        "tpu": ["jax[tpu]>=0.10"],
        "warp": ["mujoco-mjx[warp]>=3.17"],
        "wandb": ["wandb>=0.18"],
        "hdf5": ["h5py>=3.11"],
        "arrow": ["pyarrow>=16"],
        "gym": ["gymnasium[mujoco]>=1.0"],
        "ogbench": ["gymnasium[mujoco]>=1.0", "ogbench>=1.2"],
        "kitchen": ["gymnasium[mujoco]>=1.2", "gymnasium-robotics>=1.4"],
        "playground": ["playground>=0.2"],
        "benchmarks": [
            "envpool>=1.2",
            "flashbax>=0.1.3",
            "gymnasium>=1.0",
            "nflows>=0.14",
            "sbx-rl>=0.20",
            "stable-baselines3>=2.5",
            "torch>=2.5",
            "zuko>=1.3",
        ],
        "tensorboard": ["tensorboard>=2.19"],
        "docs": ["mkdocs-material>=9.6", "mkdocstrings[python]>=0.29"],
        "dev": [
            "gymnasium[mujoco]>=1.0",
            "h5py>=3.11",
            "mkdocs-material>=9.6",
            "mkdocstrings[python]>=0.29",
            "mypy>=1.15",
            "pyarrow>=16",
            "pytest>=8.3",
            "pytest-xdist>=3.6",
            "ruff>=0.11",
            "setuptools>=77",
        ],
    },
    classifiers=[
        "Intended Audience :: Science/Research",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
    ],
)
