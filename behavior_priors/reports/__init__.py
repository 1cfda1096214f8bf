"""Tables, figures and videos: what people look at."""

from behavior_priors.system import matplotlib_backend

matplotlib_backend.forgive()
