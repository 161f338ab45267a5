"""Outputs that appear when they are complete: one writer at a time, and who may read them."""

from __future__ import annotations

import errno
import json
import os
import stat
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_models import VOCABULARY, head_vectors, tokenizer_content

from nibblevec import Table
from nibblevec._io import output_folders
from nibblevec._io.file_access import ACL_ATTRIBUTE
from nibblevec._io.output_files import written_file
from nibblevec._io.output_folders import LOCK_NAME, written_folder
from nibblevec._layouts import loading
from nibblevec._layouts.loading import load_model
from nibblevec._layouts.registry import WRITTEN
from nibblevec._layouts.saving import save_model
from nibblevec._model import DynamicTanh, Model, TokenizerJson
from nibblevec._precision import RangesKey
from nibblevec._token_rules import TokenRules, Truncation

DIM = 8
ROWS = len(VOCABULARY)

posix_only = pytest.mark.skipif(os.name != "posix", reason="permissions and links of POSIX")


def a_model(layout: str, number: int) -> Model:
    """Models of one layout of which no two files are equal."""
    random = np.random.default_rng(number)
    rows = random.standard_normal((ROWS, DIM), np.float32)
    # White space is enough to tell one tokenizer from another.
    content = json.dumps(tokenizer_content()).encode() + b" " * number
    model = Model(
        "test",
        Table.from_buffer(rows, dim=DIM, format="float32"),
        TokenizerJson("somewhere", content),
        ranges={RangesKey(False, 3): np.array([[-number] * 3, [number] * 3], np.float32)},
    )
    if layout in ("sse", "sse_q4", "gguf"):
        model = model._replace(dynamic_tanh=DynamicTanh(*head_vectors(DIM, number).values()))
    if layout == "sse_q4":
        model = model._replace(table=Table.quantize(rows))
    if layout == "model2vec":
        rules = TokenRules(Truncation(number), cuts_characters=True, drops_unknown=True)
        return model._replace(token_rules=rules, normalization="model2vec")
    if layout == "static":
        model = model._replace(normalization="torch" if number % 2 else None)
    return model._replace(prompts={"query": f"{number} "})


LAYOUTS = ("sse", "sse_q4", "static", "model2vec")
PAIRS = [
    ("static", "model2vec"), ("model2vec", "static"), ("static", "static"),
    ("sse_q4", "sse"), ("sse", "static"),
]  # fmt: skip


def save(layout: str, number: int, path: Path) -> None:
    save_model(a_model(layout, number), str(path), layout.removesuffix("_q4"))


def fingerprint(model: Model) -> object:
    """All that files of a model say."""
    return (
        model.table.dequantize().tobytes(),
        model.tokenizer_json.read(),
        None if model.dynamic_tanh is None else model.dynamic_tanh.alpha.tobytes(),
        model.normalization,
        model.token_rules.truncation,
        dict(model.prompts),
        {kind: numbers.tobytes() for kind, numbers in model.ranges.items()},
    )


def fingerprints(tmp_path: Path, *models: tuple[str, int]) -> dict[object, str]:
    known: dict[object, str] = {}
    for layout, number in models:
        path = tmp_path / f"alone {layout} {number}"
        save(layout, number, path)
        known[json.dumps(repr(fingerprint(load_model(path))))] = f"{layout} {number}"
    return known


def which(known: dict[object, str], path: Path) -> str:
    """Which of the models a folder holds; an error otherwise."""
    try:
        model = load_model(path)
    except (OSError, ValueError):
        return "none"
    return known.get(json.dumps(repr(fingerprint(model))), "a mixture")


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
from test_output_files import save
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


# Who may read


@pytest.fixture
def usual_umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@posix_only
@pytest.mark.usefixtures("usual_umask")
@pytest.mark.parametrize("old", [0o600, 0o640, 0o644, 0o666, 0o400])
def test_a_file_that_is_replaced_stays_as_private(tmp_path: Path, old: int) -> None:
    path = tmp_path / "vectors.npy"
    path.touch()
    path.chmod(old)
    with written_file(str(path)) as file:
        file.write(b"new")
        unfinished = Path(file.name)
        assert mode(unfinished) == 0o600
    assert path.read_bytes() == b"new"
    assert mode(path) == old
    (tmp_path / "link").symlink_to(path)
    with written_file(str(tmp_path / "link")) as file:
        file.write(b"newer")
    assert (tmp_path / "link").is_symlink()
    assert (path.read_bytes(), mode(path)) == (b"newer", old)
    with written_file(str(tmp_path / "other")) as file:
        assert mode(Path(file.name)) == 0o644
    assert mode(tmp_path / "other") == 0o644


@posix_only
@pytest.mark.skipif(os.name == "posix" and os.getuid() != 0, reason="only root gives files away")
@pytest.mark.usefixtures("usual_umask")
def test_owner_and_group_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "vectors.npy"
    path.touch()
    os.chown(path, 1234, 2345)
    path.chmod(0o640)
    with written_file(str(path)) as file:
        file.write(b"new")
    assert (path.stat().st_uid, path.stat().st_gid, mode(path)) == (1234, 2345, 0o640)

    def refuse(*_: object) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "chown", refuse)
    with written_file(str(path)) as file:
        file.write(b"new")
    # Whoever is in our group was not in that one.
    assert (path.stat().st_gid, mode(path)) == (os.getgid(), 0o600)


@posix_only
@pytest.mark.usefixtures("usual_umask")
@pytest.mark.parametrize("new", LAYOUTS)
def test_a_model_that_is_replaced_stays_as_private(tmp_path: Path, new: str) -> None:
    folder = tmp_path / "model"
    save("sse", 3, folder)
    for path in folder.iterdir():
        path.chmod(0o600)
    (folder / "README.md").touch()
    save(new, 4, folder)
    modes = {path.name: mode(path) for path in folder.iterdir()}
    assert modes.pop("README.md") == 0o644
    assert set(modes.values()) == {0o600}
    assert mode(folder) == 0o755


@posix_only
@pytest.mark.usefixtures("usual_umask")
def test_the_strictest_of_the_files_that_made_a_model(tmp_path: Path) -> None:
    """What others may do counts before what a group may."""
    folder = tmp_path / "model"
    save("static", 3, folder)
    (folder / "model.safetensors").chmod(0o640)
    (folder / "modules.json").chmod(0o604)
    save("sse_q4", 5, folder)
    assert mode(folder / "embedding.q4_k_m.bin") == 0o640


def acl(*entries: tuple[int, int, int]) -> bytes:
    """An access list as Linux keeps it: tag, permissions and id of each entry."""
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


NOBODY = 0xFFFFFFFF
WIDE_ACL = acl((1, 7, NOBODY), (2, 7, 4321), (4, 7, NOBODY), (16, 7, NOBODY), (32, 5, NOBODY))
OWN_ACL = acl((1, 6, NOBODY), (2, 4, 1234), (4, 0, NOBODY), (16, 4, NOBODY), (32, 0, NOBODY))


@pytest.mark.skipif(not hasattr(os, "setxattr"), reason="access lists of Linux")
@pytest.mark.parametrize("own", [None, OWN_ACL])
def test_a_folder_s_access_list_widens_no_file_that_is_replaced(
    tmp_path: Path, own: bytes | None
) -> None:
    folder = tmp_path / "model"
    save("static", 3, folder)
    path = folder / "model.safetensors"
    path.chmod(0o640)
    try:
        if own is not None:
            os.setxattr(path, ACL_ATTRIBUTE, own)
        os.setxattr(folder, "system.posix_acl_default", WIDE_ACL)
    except OSError:
        pytest.skip("a file system without access lists")
    for whole in (True, False):
        if whole:
            save("sse", 4, folder)
        else:
            rewrite(path)
        assert mode(path) == 0o640
        if own is None:
            with pytest.raises(OSError, match="No data available"):
                os.getxattr(path, ACL_ATTRIBUTE)
        else:
            assert os.getxattr(path, ACL_ATTRIBUTE) == own


def rewrite(path: Path) -> None:
    with written_file(str(path)) as file:
        file.write(b"new")


@posix_only
@pytest.mark.usefixtures("usual_umask")
def test_nobody_else_reads_what_replaces_a_model(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    with written_folder(str(folder), ["a"], lambda _: ()) as unfinished:
        assert mode(Path(unfinished)) == 0o700
        Path(unfinished, "a").touch()
    assert mode(folder / "a") == 0o644


# Links


@posix_only
def test_links_are_not_followed_out_of_a_folder(tmp_path: Path) -> None:
    folder, outside = tmp_path / "model", tmp_path / "outside"
    outside.mkdir()
    save("static", 3, folder)
    config = {"module_input_name": "token_embeddings"}
    (outside / "config.json").write_text(json.dumps(config))
    (folder / "1_Normalize").symlink_to(outside)
    for name in os.listdir(folder):
        if name != "1_Normalize":
            (folder / name).rename(outside / name)
            (folder / name).symlink_to(outside / name)
    before = {path.name: path.read_bytes() for path in outside.iterdir()}
    for layout, number in (("static", 5), ("model2vec", 6), ("sse", 7), ("sse_q4", 8)):
        save(layout, number, folder)
        known = fingerprints(tmp_path, (layout, number))
        assert which(known, folder) == f"{layout} {number}"
    assert {path.name: path.read_bytes() for path in outside.iterdir()} == before
    assert not any(path.is_symlink() for path in folder.iterdir())


@posix_only
def test_a_link_to_a_folder_stays_one(tmp_path: Path) -> None:
    known = fingerprints(tmp_path, ("sse", 4))
    save("static", 3, tmp_path / "model")
    (tmp_path / "link").symlink_to("model")
    save("sse", 4, tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert which(known, tmp_path / "model") == "sse 4"


@pytest.mark.parametrize(
    "name",
    [
        *("tokenizer.json", "config_sentence_transformers.json", "ranges.safetensors"),
        *("modules.json", "model.safetensors", "model_rest.safetensors", "embedding.q4_k_m.bin"),
        "1_Normalize/config.json",
    ],
)
@pytest.mark.parametrize("new", LAYOUTS)
def test_a_folder_under_the_name_of_a_file(tmp_path: Path, new: str, name: str) -> None:
    """Whether it would be written, or only removed: nothing else goes before that is known."""
    folder = tmp_path / "model"
    save("static", 3, folder)
    with suppress(FileNotFoundError):
        (folder / name).unlink()
    (folder / name / "of somebody").mkdir(parents=True)
    before = {path: path.is_file() and path.read_bytes() for path in folder.rglob("*")}
    with pytest.raises(IsADirectoryError) as caught:
        save(new, 4, folder)
    assert caught.value.filename == str(folder / name)
    assert {path: path.is_file() and path.read_bytes() for path in folder.rglob("*")} == before


@posix_only
@pytest.mark.parametrize(
    "write", [written_file, lambda path: written_folder(path, [], lambda _: ())]
)
def test_links_without_an_end(tmp_path: Path, write: Any) -> None:
    a, b = tmp_path / "a.npy", tmp_path / "b.npy"
    a.symlink_to(b)
    b.symlink_to(a)
    with pytest.raises(OSError, match=r"symbolic links") as caught, write(str(a)):
        pass
    assert (caught.value.errno, caught.value.filename) == (errno.ELOOP, str(a))
    assert sorted(os.listdir(tmp_path)) == ["a.npy", "b.npy"]
    assert a.is_symlink()


def test_parents_that_were_made_in_vain(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    path = tmp_path / "old" / "new" / "deep" / "er"

    def fail(others: bool) -> None:
        with written_folder(str(path), [], lambda _: ()):
            if others:
                (tmp_path / "old" / "new" / "of somebody").touch()
            raise OSError(errno.ENOSPC, "full")

    for others, left in ((False, ["old"]), (True, ["new", "of somebody", "old"])):
        with pytest.raises(OSError, match="full"):
            fail(others)
        assert sorted(found.name for found in tmp_path.rglob("*")) == left


# Anything that comes between the first old file that goes and the last new one that comes


def failing(
    monkeypatch: pytest.MonkeyPatch, error: BaseException, *, at: int, times: int, after: bool
) -> Callable[[], int]:
    """Let calls that rename or remove raise, before or after they did it; returns their number."""
    calls = 0
    for name in ("unlink", "replace"):
        step: Callable[..., None] = getattr(os, name)

        def raising(*arguments: Any, step: Callable[..., None] = step, **options: Any) -> None:
            nonlocal calls
            if options or str(arguments[0]).endswith(LOCK_NAME):  # options: of shutil.rmtree
                step(*arguments, **options)
                return
            calls += 1
            fails = at < calls <= at + times
            if after or not fails:
                step(*arguments, **options)
            if fails:
                raise error

        monkeypatch.setattr(os, name, raising)
    return lambda: calls


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("times", [1, 2, 1000])
@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(errno.EIO, "broken")], ids=repr)
@pytest.mark.parametrize(("old", "new"), PAIRS[::2])
def test_a_save_that_fails_halfway(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    old: str,
    new: str,
    error: BaseException,
    times: int,
    after: bool,
) -> None:
    monkeypatch.setattr(os, "fsync", lambda _: None)  # it takes time
    known = fingerprints(tmp_path, (old, 3), (new, 4))
    names = sorted(os.listdir(tmp_path / f"alone {new} 4"))
    at, found = 0, []
    while True:
        folder = tmp_path / f"{at}"
        save(old, 3, folder)
        raised: BaseException | None = None
        with monkeypatch.context() as patch:
            own = type(error)(*error.args)
            calls = failing(patch, own, at=at, times=times, after=after)
            try:
                save(new, 4, folder)
            except BaseException as caught:
                raised = caught
        if calls() <= at:
            assert raised is None
            break
        assert type(raised) is type(error)
        hidden = [name for name in os.listdir(folder) if name.startswith(".")]
        found.append(which(known, folder))
        if hidden:
            assert times > 1
            assert len(hidden) == 1
            assert which(known, folder / hidden[0]) == f"{new} 4"
            assert sorted(os.listdir(folder / hidden[0])) == names
            assert f"the new files are in {folder / hidden[0]}" in str(raised)
            assert not isinstance(raised, OSError) or raised.filename == str(folder)
        else:
            assert found[-1] in known.values()
            assert "the new files are in" not in str(raised)
            assert found[-1] == f"{old} 3" or sorted(os.listdir(folder)) == names
        save(new, 4, folder)  # goes on as if nothing had been
        assert which(known, folder) == f"{new} 4"
        at += 1
    assert at >= 4
    assert f"{old} 3" in found or after
    if times == 1:
        assert "none" not in found
        assert found.count(f"{new} 4") >= at - 1


def test_a_save_into_a_folder_without_a_model_that_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    with monkeypatch.context() as patch:
        failing(patch, PermissionError(errno.EACCES, "no"), at=0, times=1000, after=False)
        with pytest.raises(PermissionError):
            save("static", 3, folder)
    assert os.listdir(folder) == []


def test_layouts_are_all_there() -> None:
    assert {layout.removesuffix("_q4") for layout in LAYOUTS} | {"gguf"} == set(WRITTEN)
