"""How programs begin, tell how far they are, and end."""

from behavior_priors.system import matplotlib_backend

matplotlib_backend.forgive()
