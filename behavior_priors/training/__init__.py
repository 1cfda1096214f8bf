"""How parameters are learned, and how programs that do so begin, are watched, saved and end."""

from behavior_priors.training import matplotlib_backend

matplotlib_backend.forgive()
