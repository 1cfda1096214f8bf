"""The command `behavior-priors`, where that is not on the path: `python -m behavior_priors`."""

from behavior_priors.programs.console import main

if __name__ == "__main__":
    main()
