"""Lets the tests of this folder share `kernel_samples`, and find this repository's benchmarks before those of some installed package."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "privacy"))
sys.path.insert(0, str(Path(__file__).parents[2]))
