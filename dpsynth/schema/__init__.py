"""What is public about a table: columns, types, bounds, categories, the privacy unit; each fact with its basis."""

from dpsynth.schema.column import Basis, Column
from dpsynth.schema.schema import FileFormat, PrivacyUnit, Schema

__all__ = ["Basis", "Column", "FileFormat", "PrivacyUnit", "Schema"]
