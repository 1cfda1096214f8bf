"""Behaviour priors for reinforcement learning, in JAX: learn a new task from old behaviour.

The names of this module are those that most programs begin with; everything else is imported from
the module that it stands in.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from behavior_priors.system import docstrings, xla
from behavior_priors.version import __version__

if TYPE_CHECKING:
    from behavior_priors.data.collect import collect
    from behavior_priors.data.dataset import load_transitions, split_by_episode
    from behavior_priors.deploy.load import load_policy
    from behavior_priors.envs.registry import make_env
    from behavior_priors.envs.wrappers.decode import decode_action
    from behavior_priors.errors import UserError
    from behavior_priors.evaluation.evaluate import make_evaluate
    from behavior_priors.learners.sac import make_sac
    from behavior_priors.learners.sac_config import SACConfig
    from behavior_priors.priors.real_nvp import RealNVPConfig, make_real_nvp
    from behavior_priors.training.fit import FitConfig, fit
    from behavior_priors.training.loop import LoopConfig, make_loop

__all__ = [
    "FitConfig",
    "LoopConfig",
    "RealNVPConfig",
    "SACConfig",
    "UserError",
    "__version__",
    "collect",
    "decode_action",
    "fit",
    "load_policy",
    "load_transitions",
    "make_env",
    "make_evaluate",
    "make_loop",
    "make_real_nvp",
    "make_sac",
    "split_by_episode",
]

_MODULES = {
    "FitConfig": "training.fit",
    "LoopConfig": "training.loop",
    "RealNVPConfig": "priors.real_nvp",
    "SACConfig": "learners.sac_config",
    "UserError": "errors",
    "collect": "data.collect",
    "decode_action": "envs.wrappers.decode",
    "fit": "training.fit",
    "load_policy": "deploy.load",
    "load_transitions": "data.dataset",
    "make_env": "envs.registry",
    "make_evaluate": "evaluation.evaluate",
    "make_loop": "training.loop",
    "make_real_nvp": "priors.real_nvp",
    "make_sac": "learners.sac",
    "split_by_episode": "data.dataset",
}

docstrings.keep()
xla.mend()


def __getattr__(name: str) -> Any:
    """Imports a name of `__all__` when it is first asked for, since importing JAX takes seconds."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = importlib.import_module(f"{__name__}.{_MODULES[name]}")
    value = globals()[name] = getattr(module, name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
