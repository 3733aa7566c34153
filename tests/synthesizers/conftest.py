"""Lets the tests of this folder share `kernel_samples`, whatever pytest's import mode."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "privacy"))
