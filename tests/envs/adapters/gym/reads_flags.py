"""A module of a user's that is a program too, and does not ask whether it is run as one."""

import argparse

parser = argparse.ArgumentParser()
parser.add_argument("--size", type=int, default=3)
parser.parse_args()
