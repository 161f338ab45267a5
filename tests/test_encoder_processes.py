"""Encoder in copies, pickles, threads and processes, and under signals."""

from __future__ import annotations

import copy
import json
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
import tracemalloc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bits import bits
from encoder_cases import (
    DIM,
    encoder_fixture,  # noqa: F401
    folder_fixture,  # noqa: F401
    many_texts,
)
from numpy.typing import NDArray
from tiny_models import HEAD, TABLE, TOKENIZER, tokenizer_content, write_model

from nibblevec import Encoder, ModelFormatError
from nibblevec._bundled import BUNDLED_MODEL
from nibblevec._vectors import BLOCK_TEXTS, write_floats

# Pickling and copies


def test_pickle(folder: Path) -> None:
    encoder = Encoder(folder, truncate_dim=11, threads=2, mmap=False)
    stored = pickle.dumps(encoder)
    assert len(stored) < 1024
    other = pickle.loads(stored)
    assert other.get_embedding_dimension() == 11
    assert other.__getstate__() == encoder.__getstate__()
    texts = many_texts(30)
    assert np.array_equal(bits(other.encode(texts)), bits(encoder.encode(texts)))


def test_pickle_of_the_bundled_model() -> None:
    stored = pickle.dumps(Encoder())
    assert len(stored) < 512
    assert os.fsencode(os.path.dirname(BUNDLED_MODEL)) not in stored
    other = pickle.loads(stored)
    assert np.array_equal(bits(other.encode("tea")), bits(Encoder().encode("tea")))


@pytest.mark.parametrize("name", [TABLE, HEAD, TOKENIZER])
def test_pickle_of_a_model_that_changed(tmp_path: Path, name: str) -> None:
    folder = write_model(tmp_path / "model")
    stored = pickle.dumps(Encoder(folder))
    other = write_model(tmp_path / "other", seed=8)
    if name == TOKENIZER:
        content = tokenizer_content()
        content["model"]["vocab"].update({"tea": 7, "a": 5})
        (other / name).write_text(json.dumps(content))
    pickle.loads(stored)
    os.replace(other / name, folder / name)
    with pytest.raises(ValueError, match="is not the one that was pickled") as caught:
        pickle.loads(stored)
    assert str(folder) in str(caught.value)


def test_pickle_of_a_model_that_is_gone(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "model")
    stored = pickle.dumps(Encoder(folder))
    folder.rename(tmp_path / "elsewhere")
    with pytest.raises(FileNotFoundError):
        pickle.loads(stored)


def test_pickle_from_another_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_model(tmp_path / "model")
    monkeypatch.chdir(tmp_path)
    encoder = Encoder("model")
    expected = encoder.encode("tea")
    stored = pickle.dumps(encoder)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert np.array_equal(bits(pickle.loads(stored).encode("tea")), bits(expected))
    monkeypatch.chdir(tmp_path)
    late = Encoder(Path("model"))
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert np.array_equal(bits(late.encode("tea")), bits(expected))


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy])
def test_copy(encoder: Encoder, copied: Callable[[Encoder], Encoder]) -> None:
    other = copied(encoder)
    assert other is not encoder
    assert np.array_equal(bits(other.encode("tea")), bits(encoder.encode("tea")))


def test_error_survives_pickling(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "model")
    (folder / HEAD).write_bytes(b"")
    with pytest.raises(ModelFormatError) as caught:
        Encoder(folder)
    other = pickle.loads(pickle.dumps(caught.value))
    assert type(other) is ModelFormatError
    assert str(other) == str(caught.value)
    assert (other.path, other.field) == (str(folder / HEAD), "header length")


@pytest.mark.skipif(sys.platform == "win32", reason="a mapped file cannot be replaced there")
def test_replaced_model_stays_as_it_was_loaded(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "model")
    encoder = Encoder(folder)
    expected = encoder.encode("a cup of tea")
    digest = encoder.__getstate__()["digest"]
    other = write_model(tmp_path / "other", seed=9)
    for name in (TABLE, HEAD, TOKENIZER):
        os.replace(other / name, folder / name)
    (folder / TOKENIZER).write_text(json.dumps(tokenizer_content(), indent=1))
    assert encoder.__getstate__()["digest"] == digest
    assert np.array_equal(bits(encoder.encode("a cup of tea")), bits(expected))
    assert not np.array_equal(Encoder(folder).encode("a cup of tea"), expected)


@pytest.mark.parametrize("mmap", [True, False])
def test_mapped_or_read(folder: Path, encoder: Encoder, mmap: bool) -> None:
    other = Encoder(str(folder), mmap=mmap)
    texts = many_texts(20)
    assert np.array_equal(bits(other.encode(texts)), bits(encoder.encode(texts)))


# Threads, processes, signals


def test_spawned_processes(encoder: Encoder) -> None:
    batches = [many_texts(20, seed) for seed in range(4)]
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        results = pool.map(encoder.encode, batches)
    for texts, vectors in zip(batches, results, strict=True):
        assert np.array_equal(bits(vectors), bits(encoder.encode(texts)))


def test_threads_encode_at_once(folder: Path) -> None:
    batches = [many_texts(400, seed) for seed in range(12)]
    expected = [Encoder(folder).encode(texts) for texts in batches]
    shared = Encoder(folder)  # its tokenizer is not loaded yet
    start = threading.Barrier(6)

    def encode(number: int) -> list[NDArray[np.float32]]:
        start.wait()
        return [shared.encode(batches[i], threads=2) for i in (number, number + 6)]

    with ThreadPoolExecutor(6) as pool:
        for number, results in enumerate(pool.map(encode, range(6))):
            for i, vectors in zip((number, number + 6), results, strict=True):
                assert np.array_equal(bits(vectors), bits(expected[i]))


def test_list_changes_during_the_call(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = many_texts(BLOCK_TEXTS + 100)
    expected = Encoder(folder).encode(texts)
    changing = list(texts)

    def encode_while_another_thread_changes(*args: Any, **options: Any) -> Any:
        thread = threading.Thread(target=lambda: changing.insert(0, changing.pop()))
        thread.start()
        thread.join()
        changing[100:] = ["the market fell"] * 3
        return write_floats(*args, **options)

    monkeypatch.setattr("nibblevec._vectors.write_floats", encode_while_another_thread_changes)
    vectors = Encoder(folder).encode(changing)
    assert changing != texts
    assert np.array_equal(bits(vectors), bits(expected))


def test_memory_of_a_call_is_bounded(encoder: Encoder) -> None:
    texts = many_texts(BLOCK_TEXTS)
    encoder.encode(texts)
    out = np.empty((20 * len(texts), DIM), np.float32)
    many = tuple(texts * 20)
    tracemalloc.start()
    try:
        encoder.encode(many, out=out)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4 << 20


@pytest.mark.skipif(sys.platform == "win32", reason="SIGINT of a subprocess")
@pytest.mark.parametrize("threads", [1, 2])
def test_ctrl_c_ends_a_long_call(folder: Path, threads: int) -> None:
    script = (
        "import sys, nibblevec\n"
        "model = nibblevec.Encoder(sys.argv[1], threads=int(sys.argv[2]))\n"
        "model.encode('tea')\n"
        "texts = ['the stock market fell, a cup of tea!'] * 3_000_000\n"
        "print('begun', flush=True)\n"
        "model.encode(texts)\n"
        "print('not interrupted', flush=True)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(folder), str(threads)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    time.sleep(0.3)
    assert process.poll() is None
    begin = time.perf_counter()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    seconds = time.perf_counter() - begin
    assert "KeyboardInterrupt" in err
    assert out == ""
    assert process.returncode == -signal.SIGINT
    assert seconds < 1
