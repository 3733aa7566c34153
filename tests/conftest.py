"""What all tests share: a home of their own for keys, the real tables where they are, the survey, a PostgreSQL server."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
import pytest

from dpsynth.schema import Schema
from dpsynth.tables.survey import SurveyTable, survey_schema

if TYPE_CHECKING:
    from postgres_server import Server

sys.path.insert(0, str(Path(__file__).parent))
DATA = Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture(autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No test sees or makes the keys of the person who runs it."""
    folder = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("DPSYNTH_HOME", str(folder))
    return folder


@pytest.fixture(scope="session")
def survey() -> tuple[pd.DataFrame, Schema]:
    schema = survey_schema()
    return SurveyTable(schema).rows(), schema


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of real tables; the test is skipped where it is absent."""
    if not DATA.is_dir():
        pytest.skip("the folder of real tables is not here")
    return DATA


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """A PostgreSQL server of this process's own."""
    from postgres_server import running

    with running() as started:
        yield started


@pytest.fixture
def databases(server: Server) -> Iterator[Callable[[], str]]:
    """Gives addresses of databases without a ledger."""
    yield server.lend
    server.take_back()


@pytest.fixture
def database(databases: Callable[[], str]) -> str:
    """The address of a database without a ledger."""
    return databases()
