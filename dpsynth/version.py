"""The version of this code; `pyproject.toml` has the same."""

__version__ = "0.1.0"
