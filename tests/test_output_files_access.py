"""Outputs that replace others: who may read them, links, and saves that fail."""

from __future__ import annotations

import errno
import json
import os
import stat
import struct
from collections.abc import Callable, Iterator
from contextlib import suppress
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

from nibblevec._io.file_access import ACL_ATTRIBUTE
from nibblevec._io.output_files import written_file
from nibblevec._io.output_folders import LOCK_NAME, written_folder

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
