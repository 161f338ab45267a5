"""The recipes of docs/engines.md, on the engines themselves; none of them may be missing."""

from __future__ import annotations

import operator
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import daft
import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
import ray
from pyspark.sql import SparkSession

from nibblevec import Encoder

pytestmark = pytest.mark.filterwarnings(
    "default"
)  # the engines deprecate what they call themselves

TEXTS = [f"Cup {number} of tea." if number % 7 else None for number in range(5000)]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with two files of texts."""
    monkeypatch.chdir(tmp_path)
    Path("texts").mkdir()
    table = pa.table({"id": range(len(TEXTS)), "text": TEXTS})
    pa.parquet.write_table(table[:2000], "texts/a.parquet")
    pa.parquet.write_table(table[2000:], "texts/b.parquet")
    return tmp_path


def run_recipe(engine: str) -> None:
    page = (Path(__file__).parents[2] / "docs" / "engines.md").read_text(encoding="utf-8")
    (block,) = re.findall(
        rf"^## {engine}\n[^#]*?```python\n(.*?)```", page, re.DOTALL | re.MULTILINE
    )
    # Workers are sent what the main program defines, and import what a module does.
    exec(compile(block, "engines.md", "exec"), {"__name__": "__main__"})


def rows_of_files() -> list[dict[str, Any]]:
    files = sorted(Path("vectors").rglob("*.parquet"))
    return [row for file in files for row in pa.parquet.ParquetFile(file).read().to_pylist()]


def assert_encoded(rows: list[dict[str, Any]]) -> None:
    rows = sorted(rows, key=operator.itemgetter("id"))
    assert [row["id"] for row in rows] == list(range(len(TEXTS)))
    assert [row["text"] for row in rows] == TEXTS
    expected = Encoder().encode([text or "" for text in TEXTS], normalize_embeddings=True)
    for row, vector in zip(rows, expected, strict=True):
        if row["text"] is None:
            assert row["embedding"] is None
        else:
            assert np.array_equal(np.array(row["embedding"], np.float32), vector)


@pytest.fixture
def ray_cluster() -> Iterator[None]:
    ray.init(num_cpus=4, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


@pytest.mark.usefixtures("folder", "ray_cluster")
def test_ray() -> None:
    run_recipe("Ray Data")
    assert_encoded(rows_of_files())


@pytest.fixture
def spark(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("PYSPARK_PYTHON", sys.executable)
    builder = SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false")
    session = builder.getOrCreate()
    yield
    session.stop()


@pytest.mark.usefixtures("folder", "spark")
def test_spark() -> None:
    run_recipe("Spark")
    assert_encoded(rows_of_files())


@pytest.mark.usefixtures("folder")
def test_daft() -> None:
    run_recipe("Daft")
    assert_encoded(daft.read_parquet("vectors").to_pylist())
