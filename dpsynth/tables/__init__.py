"""Where rows live: a frame in memory, a CSV or Parquet file, the demo's survey. The header can be read without the rows."""

from dpsynth.schema import Schema
from dpsynth.tables.source import FileTable, FrameTable, Table, header_faults, open_table
from dpsynth.tables.survey import ADDRESS, SurveyTable

__all__ = ["FileTable", "FrameTable", "SurveyTable", "Table", "header_faults", "open_table", "table_at"]


def table_at(address: str, schema: Schema) -> Table:
    """The table that an address names: a file's path, or the demo's survey."""
    return SurveyTable(schema) if address == ADDRESS else open_table(address, schema)
