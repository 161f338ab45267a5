from pathlib import Path

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--texts", type=Path, help="compare on the lines of this file, not of Python's texts"
    )
    parser.addoption(
        "--table", type=Path, help="quantize the embedding.weight of this safetensors file too"
    )
