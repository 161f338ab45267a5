"""Outputs that appear when they are complete: one writer at a time."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from output_cases import (
    LAYOUTS,
    PAIRS,
    fingerprints,
    posix_only,
    save,
    which,
)

from nibblevec._io import output_folders
from nibblevec._io.output_files import written_file
from nibblevec._io.output_folders import LOCK_NAME
from nibblevec._layouts import loading
from nibblevec._layouts.loading import load_model
from nibblevec._layouts.registry import WRITTEN
from nibblevec._model import Model


def at_each_step(monkeypatch: pytest.MonkeyPatch, act: Callable[[], None]) -> None:
    """Act before each call of this thread that changes a folder, but not within `act` itself."""
    busy, own = threading.Lock(), threading.get_ident()
    for name in ("unlink", "replace", "rename", "rmdir"):
        step: Callable[..., None] = getattr(os, name)

        def acting(*arguments: Any, step: Callable[..., None] = step, **options: Any) -> None:
            if threading.get_ident() == own and busy.acquire(blocking=False):
                try:
                    act()
                finally:
                    busy.release()
            step(*arguments, **options)

        monkeypatch.setattr(os, name, acting)


# Readers and writers of one folder


@pytest.mark.parametrize("new", LAYOUTS)
@pytest.mark.parametrize("old", LAYOUTS)
def test_a_load_within_a_save(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, old: str, new: str
) -> None:
    known = fingerprints(tmp_path, (old, 3), (new, 4))
    folder = tmp_path / "model"
    save(old, 3, folder)
    seen: list[str] = []
    with monkeypatch.context() as patch:
        at_each_step(patch, lambda: seen.append(which(known, folder)))
        save(new, 4, folder)
    seen.append(which(known, folder))
    assert list(dict.fromkeys(seen)) == [f"{old} 3", "none", f"{new} 4"]


@pytest.mark.parametrize(("old", "new"), PAIRS)
def test_a_save_within_a_load(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, old: str, new: str
) -> None:
    """Before each file that a load opens, once: another model is saved."""
    known = fingerprints(tmp_path, (old, 3), (new, 4))
    folder = tmp_path / "model"
    opened = os.open
    at = step = 0

    def opening(path: Any, *arguments: Any, **options: Any) -> int:
        nonlocal step
        if str(path).startswith(str(folder)):
            if step == at:
                step += 1
                save(new, 4, folder)
            else:
                step += 1
        return opened(path, *arguments, **options)

    seen = []
    while step == at:  # until a load ends before that
        save(old, 3, folder)
        step = 0
        with monkeypatch.context() as patch:
            patch.setattr(os, "open", opening)
            seen.append(which(known, folder))
        if step <= at:
            break
        at, step = at + 1, at + 1
    assert at >= 3
    assert set(seen) == {f"{old} 3", f"{new} 4"}


def test_a_load_whose_files_never_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "model"
    save("static", 1, folder)
    tokenizer = folder / "tokenizer.json"
    load = loading._load
    loads = 0

    def replacing(*arguments: Any) -> Model:
        nonlocal loads
        loads += 1
        tokenizer.write_bytes(tokenizer.read_bytes() + b" ")
        return load(*arguments)

    monkeypatch.setattr(loading, "_load", replacing)
    with pytest.raises(OSError, match="Its files were replaced while they were read") as caught:
        load_model(folder)
    assert (caught.value.errno, caught.value.filename) == (errno.EBUSY, str(folder))
    assert loads == loading.READINGS


def test_other_files_do_not_disturb_a_load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "model"
    save("static", 1, folder)
    load = loading._load
    loads = 0

    def replacing(*arguments: Any) -> Model:
        nonlocal loads
        loads += 1
        (folder / f"vectors{loads}.npy").write_bytes(b"")
        return load(*arguments)

    monkeypatch.setattr(loading, "_load", replacing)
    load_model(folder)
    assert loads == 1


@pytest.mark.parametrize(("first", "second"), PAIRS[:4:3] + PAIRS[1:2])
def test_a_save_within_a_save(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: str, second: str
) -> None:
    """A second writer that comes between any two steps of a first one ends, or waits for it."""
    known = fingerprints(tmp_path, (first, 3), (second, 4))
    folder = tmp_path / "model"
    lock = output_folders._lock
    waits = threading.Event()

    def locking(descriptor: int) -> bool:
        is_mine = lock(descriptor)
        if not is_mine:
            waits.set()
        return is_mine

    monkeypatch.setattr(output_folders, "_lock", locking)
    others: list[threading.Thread] = []
    at = step = 0

    def start() -> None:
        nonlocal step
        step += 1
        if step == at + 1:
            waits.clear()
            others.append(threading.Thread(target=save, args=(second, 4, folder)))
            others[-1].start()
            while others[-1].is_alive() and not waits.is_set():
                others[-1].join(0.002)

    while step >= at:
        save("static", 5, folder)
        step = 0
        with monkeypatch.context() as patch:
            at_each_step(patch, start)
            save(first, 3, folder)
        if step <= at:
            break
        others[-1].join()
        found = which(known, folder)
        assert found in (f"{first} 3", f"{second} 4")
        assert sorted(os.listdir(folder)) == sorted(os.listdir(tmp_path / f"alone {found}"))
        at += 1
        step = at
    assert at >= 8


def test_two_writers_of_a_new_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The slower one replaces what the faster one wrote meanwhile."""
    known = fingerprints(tmp_path, ("static", 3), ("sse", 4))
    folder = tmp_path / "model"
    with monkeypatch.context() as patch:
        rename = os.rename

        def renaming(*arguments: Any) -> None:
            patch.setattr(os, "rename", rename)
            save("sse", 4, folder)
            rename(*arguments)

        patch.setattr(os, "rename", renaming)
        save("static", 3, folder)
    assert which(known, folder) == "static 3"
    assert sorted(os.listdir(folder)) == sorted(os.listdir(tmp_path / "alone static 3"))
    assert [name for name in os.listdir(tmp_path) if name.startswith(".")] == []


WRITER = """
import sys, time
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from output_cases import save
print("ready", flush=True)
for _ in range(int(sys.argv[5])):
    save(sys.argv[2], int(sys.argv[3]), Path(sys.argv[4]))
"""


def writer(layout: str, number: int, folder: Path, rounds: int) -> subprocess.Popen[bytes]:
    tests = os.path.dirname(os.path.abspath(__file__))
    arguments = [sys.executable, "-c", WRITER, tests, layout, f"{number}", str(folder), f"{rounds}"]
    return subprocess.Popen(arguments, stdout=subprocess.PIPE)


def test_writers_in_processes(tmp_path: Path) -> None:
    """Three writers, and a reader: one of the models, or an error; and no mixture at the end."""
    models = [("static", 3), ("sse", 4), ("model2vec", 6)]
    known = fingerprints(tmp_path, *models)
    folder = tmp_path / "model"
    rounds = int(os.environ.get("NIBBLEVEC_TEST_SAVES", "12"))
    writers = [writer(layout, number, folder, rounds) for layout, number in models]
    seen = set()
    while any(process.poll() is None for process in writers):
        if folder.exists():
            seen.add(which(known, folder))
    for process in writers:
        process.communicate()
    assert [process.returncode for process in writers] == [0, 0, 0]
    assert seen <= {*known.values(), "none"}
    assert which(known, folder) in known.values()
    assert [name for name in os.listdir(folder) if name.startswith(".")] == []


@posix_only
def test_writers_that_are_killed(tmp_path: Path) -> None:
    """At any moment: nothing is left that is a mixture, or that the next writer waits for."""
    models = [("static", 3), ("sse", 4)]
    known = fingerprints(tmp_path, *models)
    folder = tmp_path / "model"
    save(*models[0], folder)
    rounds = int(os.environ.get("NIBBLEVEC_TEST_SAVES", "8"))
    for number in range(rounds):
        process = writer(*models[number % 2], folder, 1000)
        assert process.stdout
        process.stdout.readline()
        time.sleep(0.01 + 0.003 * (number % 7))
        process.kill()
        process.communicate()
        assert which(known, folder) in {*known.values(), "none"}
    begin = time.monotonic()
    save(*models[0], folder)
    assert time.monotonic() - begin < output_folders.LOCK_SECONDS  # as long as a lock is waited for
    assert which(known, folder) == "static 3"


@posix_only
def test_a_lock_that_a_killed_writer_left(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    save("static", 3, folder)
    lock = folder / LOCK_NAME
    lock.touch(mode=0o444)
    save("sse", 4, folder)
    assert load_model(folder).dynamic_tanh is not None
    assert not lock.exists()
    lock.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match=LOCK_NAME):
        save("static", 3, folder)
    assert not (tmp_path / "elsewhere").exists()
    assert load_model(folder).dynamic_tanh is not None


@posix_only
def test_a_writer_that_does_not_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "model"
    save("static", 3, folder)
    before = sorted(os.listdir(folder))
    monkeypatch.setattr(output_folders, "LOCK_SECONDS", 0.1)
    with output_folders._only_writer(str(folder)):
        with pytest.raises(OSError, match="Another process is saving into it") as caught:
            save("sse", 4, folder)
        assert (caught.value.errno, caught.value.filename) == (errno.EBUSY, str(folder))
        assert load_model(folder).dynamic_tanh is None
    assert sorted(os.listdir(folder)) == before


@posix_only
def test_a_file_system_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import fcntl

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    folder = tmp_path / "model"
    save("static", 3, folder)
    monkeypatch.setattr(fcntl, "flock", refuse)
    save("sse", 4, folder)
    assert load_model(folder).dynamic_tanh is not None


def test_two_writers_of_one_file(tmp_path: Path) -> None:
    path = tmp_path / "vectors.npy"
    with written_file(str(path)) as first, written_file(str(path)) as second:
        first.write(b"first")
        second.write(b"second")
    assert path.read_bytes() == b"first"
    assert os.listdir(tmp_path) == ["vectors.npy"]


def test_layouts_are_all_there() -> None:
    assert {layout.removesuffix("_q4") for layout in LAYOUTS} | {"gguf"} == set(WRITTEN)
