"""What stands after `gym/`: an id of gymnasium's.

`gym/Pusher-v5` is what `gymnasium.make("Pusher-v5")` makes; `gym/my_module:MyEnv-v0` imports
`my_module` first, which is to register it. Options go to `gymnasium.make`:
`gym/Pusher-v5?max_episode_steps=50&render_mode=rgb_array`.
"""

from __future__ import annotations

import difflib
import importlib
from typing import Any

from behavior_priors.envs.packages import how_to_get
from behavior_priors.errors import UserError
from behavior_priors.system.faults import importing


def require_gymnasium() -> Any:
    """The library.

    Raises:
      UserError: it is not installed.
    """
    try:
        import gymnasium
    except ModuleNotFoundError as error:
        if error.name != "gymnasium":
            raise
        raise UserError("gym/... needs gymnasium; pip install 'behavior-priors[gym]'") from error
    return gymnasium


def imports(member: str) -> tuple[str, ...]:
    """The module before an id, if there is one."""
    module, mark, _ = member.rpartition(":")
    return (module,) if mark else ()


def complaint(member: str) -> str | None:
    """What there is instead of an id that gymnasium does not know."""
    gymnasium = require_gymnasium()
    module, _, id_ = member.rpartition(":")
    if module:
        try:
            with importing(module):
                importlib.import_module(module)
        except ModuleNotFoundError as error:
            return f"there is no module {error.name}; {how_to_get(str(error.name))}"
    if id_ in gymnasium.registry:
        return None
    close = difflib.get_close_matches(id_, gymnasium.registry, n=4, cutoff=0.5)
    hint = "an id that a package registers needs the package's name before it, as in gym/MODULE:ID"
    return f"close to it are: {', '.join(close)}; {hint}" if close else hint
