"""The harness is not installed, and some installed package brings a `benchmarks` of its own: the repository comes first here."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))
