"""Models that are damaged or hostile, table, head or folder: each is refused, naming the file."""

from __future__ import annotations

import os
import shutil
import struct
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bad_model_cases import (
    DIM,
    ROWS,
    changed,
    folder_fixture,  # noqa: F401
)
from bad_models import assert_refused, left_alone
from tiny_models import (
    HEAD,
    MODEL_FILES,
    TABLE,
    TOKENIZER,
    head_parts,
    head_vectors,
    safetensors_file,
    table_bytes,
    write_model,
)

from nibblevec import Encoder, ModelFormatError

ROW_BYTES = DIM // 2 + 4

pytestmark = pytest.mark.malformed

posix_only = pytest.mark.skipif(os.name != "posix", reason="kinds of files that POSIX has")


# The table


@pytest.mark.parametrize("change", [-ROW_BYTES - 1, -256, -255, -3, -2, -1, 1, 2, 3, 255, 256])
def test_table_of_another_size(folder: Path, change: int) -> None:
    content = (folder / TABLE).read_bytes()
    size = len(content) + change
    (folder / TABLE).write_bytes((content + bytes(256))[:size])
    message = f"{size} bytes, expected a whole number of rows of {ROW_BYTES} bytes"
    assert_refused(folder, TABLE, "table", message)


def test_empty_table(folder: Path) -> None:
    (folder / TABLE).write_bytes(b"")
    assert_refused(folder, TABLE, "table", "0 bytes, expected a whole number of rows")


@pytest.mark.parametrize("bad", [np.inf, -np.inf, np.nan])
@pytest.mark.parametrize("row", [0, 1, ROWS - 1])
def test_scale_that_is_not_finite(folder: Path, bad: float, row: int) -> None:
    content = bytearray((folder / TABLE).read_bytes())
    struct.pack_into("<f", content, ROWS * (DIM // 2) + 4 * row, bad)
    (folder / TABLE).write_bytes(content)
    message = rf"scale of row {row} is -?(inf|nan), expected a finite number"
    assert_refused(folder, TABLE, "table", message)


@pytest.mark.parametrize("dim", [1, 3, 29])
def test_odd_dim(folder: Path, dim: int) -> None:
    (folder / HEAD).write_bytes(safetensors_file(*head_parts(head_vectors(dim))))
    (folder / TABLE).write_bytes(bytes((dim // 2 + 4) * ROWS))
    assert_refused(folder, TABLE, "table", f"dim {dim} is odd")


def test_fewer_rows_than_tokens(folder: Path) -> None:
    (folder / TABLE).write_bytes(table_bytes(ROWS - 1, DIM))
    message = rf"{ROWS - 1} rows, expected {ROWS}, one for each token of tokenizer\.json$"
    assert_refused(folder, TABLE, "table", message)


@pytest.mark.parametrize("rows", [-ROWS + 1, -7, -2, -1, 1, 2, 7, 1000])
@pytest.mark.parametrize("tokenizer", ["native", "package"])
def test_table_padded_or_cut_by_whole_rows(folder: Path, rows: int, tokenizer: str) -> None:
    if tokenizer == "package":
        content = changed(lambda content: content.update(pre_tokenizer={"type": "Whitespace"}))
        (folder / TOKENIZER).write_bytes(content)
        Encoder(folder)
    content = (folder / TABLE).read_bytes()
    size = len(content) + rows * ROW_BYTES
    (folder / TABLE).write_bytes(content.ljust(size, b"\0")[:size])
    message = f"{ROWS + rows} rows, expected {ROWS}, one for each token of tokenizer.json"
    with pytest.raises(ModelFormatError) as caught:
        Encoder(folder)
    assert caught.value.path == str(folder / TABLE)
    assert (caught.value.field, caught.value.problem) == ("table", message)


# The head: what its tensors hold

HEAD_NAMES = ("dyt.alpha", "dyt.beta", "dyt.bias")


@pytest.mark.parametrize("name", HEAD_NAMES)
def test_head_tensor_missing(folder: Path, name: str) -> None:
    vectors = head_vectors(DIM)
    del vectors[name]
    (folder / HEAD).write_bytes(safetensors_file(*head_parts(vectors)))
    assert_refused(folder, HEAD, name, "missing; the file holds dyt")


def test_head_without_tensors(folder: Path) -> None:
    (folder / HEAD).write_bytes(safetensors_file({}))
    assert_refused(folder, HEAD, "dyt.alpha", "missing; the file holds -")


def test_head_of_many_other_tensors(folder: Path) -> None:
    entry = {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}
    (folder / HEAD).write_bytes(safetensors_file({f"other.{i}": entry for i in range(13_000)}))
    assert_refused(folder, HEAD, "dyt.alpha", "missing; the file holds other.0, other.1, ")


@pytest.mark.parametrize("name", ["dyt.beta", "dyt.bias"])
@pytest.mark.parametrize("length", [1, DIM - 1, DIM + 1])
def test_head_tensor_of_another_length(folder: Path, name: str, length: int) -> None:
    vectors = head_vectors(DIM) | {name: np.ones(length, np.float32)}
    (folder / HEAD).write_bytes(safetensors_file(*head_parts(vectors)))
    message = f"length {length}, expected {DIM} as dyt.alpha has"
    assert_refused(folder, HEAD, name, message)


@pytest.mark.parametrize(
    ("array", "found"),
    [
        (np.ones(DIM), r"F64 \[30\]"),
        (np.ones(DIM, np.float16), r"F16 \[30\]"),
        (np.ones(DIM, np.int32), r"I32 \[30\]"),
        (np.ones((DIM, 1), np.float32), r"F32 \[30, 1\]"),
        (np.ones((2, 15), np.float32), r"F32 \[2, 15\]"),
        (np.array(1, np.float32), r"F32 \[\]"),
        (np.ones(0, np.float32), r"F32 \[0\]"),
    ],
)
@pytest.mark.parametrize("name", HEAD_NAMES)
def test_head_tensor_of_another_type_or_shape(
    folder: Path, name: str, array: Any, found: str
) -> None:
    (folder / HEAD).write_bytes(safetensors_file(*head_parts(head_vectors(DIM) | {name: array})))
    assert_refused(folder, HEAD, name, f"{found}, expected F32 with one dimension")


@pytest.mark.parametrize("bad", [np.inf, -np.inf, np.nan])
@pytest.mark.parametrize("name", HEAD_NAMES)
@pytest.mark.parametrize("position", [0, DIM - 1])
def test_head_value_that_is_not_finite(folder: Path, name: str, bad: float, position: int) -> None:
    vectors = head_vectors(DIM)
    vectors[name][position] = bad
    (folder / HEAD).write_bytes(safetensors_file(*head_parts(vectors)))
    message = f"element {position} is {bad}, expected a finite number"
    assert_refused(folder, HEAD, name, message)


# Files that are missing, or are not files


@pytest.mark.parametrize("name", MODEL_FILES)
@pytest.mark.parametrize("mmap", [True, False])
@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("missing", FileNotFoundError),
        ("dangling symlink", FileNotFoundError),
        ("symlink loop", OSError),
        ("directory", IsADirectoryError),
        ("symlinked directory", IsADirectoryError),
        ("FIFO", OSError),
        ("symlinked /dev/zero", OSError),
        ("symlinked /dev/null", OSError),
    ],
)
@posix_only
def test_not_a_regular_file(
    folder: Path, name: str, mmap: bool, kind: str, error: type[OSError]
) -> None:
    path = folder / name
    replace_by(path, kind)
    if name == TABLE and kind == "missing":
        with left_alone(folder), pytest.raises(ValueError, match="looked for " + TABLE):
            Encoder(folder, mmap=mmap)
        return
    with left_alone(folder), pytest.raises(error) as caught:
        Encoder(folder, mmap=mmap)
    assert caught.value.filename == str(path)
    if error is OSError:
        expected = "levels of symbolic links" if kind == "symlink loop" else "Not a regular file"
        assert expected in str(caught.value)


def replace_by(path: Path, kind: str) -> None:
    path.unlink()
    if kind == "dangling symlink":
        path.symlink_to(path.parent / "nothing")
    elif kind == "symlink loop":
        path.symlink_to(path)
    elif kind == "directory":
        path.mkdir()
    elif kind == "symlinked directory":
        path.symlink_to(path.parent)
    elif kind == "FIFO":
        os.mkfifo(path)
    elif kind.startswith("symlinked /dev/"):
        path.symlink_to(kind.removeprefix("symlinked "))
    else:
        assert kind == "missing"


@pytest.mark.parametrize("kind", ["missing", "FIFO", "symlinked /dev/zero", "directory"])
@posix_only
def test_tokenizer_that_turned_bad_after_loading(folder: Path, kind: str) -> None:
    encoder = Encoder(folder)
    expected = encoder.encode("tea")
    replace_by(folder / TOKENIZER, kind)
    with left_alone(folder):  # it was read, and is held
        assert np.array_equal(encoder.encode("tea"), expected)


@pytest.fixture
def public_folder() -> Iterator[Path]:
    """A model that users other than root reach, unlike what is under `tmp_path`."""
    outer = Path(tempfile.mkdtemp())
    outer.chmod(0o755)
    yield write_model(outer / "model")
    (outer / "model").chmod(0o755)
    shutil.rmtree(outer)


@contextmanager
def as_nobody() -> Iterator[None]:
    """Root reads everything: be somebody else meanwhile."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.mark.parametrize("name", MODEL_FILES)
@posix_only
def test_unreadable_file(public_folder: Path, name: str) -> None:
    (public_folder / name).chmod(0)
    with left_alone(public_folder), as_nobody(), pytest.raises(PermissionError) as caught:
        Encoder(public_folder).encode("tea")
    assert caught.value.filename == str(public_folder / name)


@posix_only
def test_unreadable_folder(public_folder: Path) -> None:
    public_folder.chmod(0)
    with as_nobody(), pytest.raises(PermissionError) as caught:
        Encoder(public_folder)
    assert caught.value.filename == str(public_folder)


@posix_only
def test_read_only_model(public_folder: Path) -> None:
    for name in MODEL_FILES:
        (public_folder / name).chmod(0o444)
    public_folder.chmod(0o555)
    with left_alone(public_folder), as_nobody():
        assert Encoder(public_folder).encode(["tea"]).shape == (1, DIM)


# The folder


def test_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        Encoder(tmp_path / "nothing")
    assert caught.value.filename == str(tmp_path / "nothing")


def test_file_for_a_folder(folder: Path) -> None:
    with pytest.raises(NotADirectoryError) as caught:
        Encoder(folder / TABLE)
    assert caught.value.filename == str(folder / TABLE)


def test_folder_without_a_model(tmp_path: Path) -> None:
    other_model = (2).to_bytes(8, "little") + b"{}"
    for files in ({}, {"model.safetensors": other_model, "config.json": b"{}"}):
        for name, content in files.items():
            (tmp_path / name).write_bytes(content)
        with left_alone(tmp_path), pytest.raises(ValueError, match="not a model") as caught:
            Encoder(tmp_path)
        assert str(tmp_path) in str(caught.value)
        assert f"looked for {TABLE}" in str(caught.value)


@pytest.mark.parametrize("bad", [3, 1.5, ["model"], object()])
def test_path_that_is_none(bad: Any) -> None:
    with pytest.raises(TypeError):
        Encoder(bad)


def test_path_with_a_nul() -> None:
    with pytest.raises(ValueError, match="null"):
        Encoder("mo\0del")
