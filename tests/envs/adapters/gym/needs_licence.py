"""A module of a user's that ends the program that imports it."""

import sys

sys.exit("there is no licence")
