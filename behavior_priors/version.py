"""The version of the package, which data and results are stamped with."""

__version__ = "0.1.0"
