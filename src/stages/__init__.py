"""Learning in Stages: forty papers on staged learning, each small enough to run, test
and read on a laptop.
"""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("learning-in-stages")
except PackageNotFoundError:  # a source tree that was never installed
    __version__ = "0+unknown"
