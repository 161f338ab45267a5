"""Models by name: local paths without the network, repositories through the hub's own cache."""

from __future__ import annotations

import pickle
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_models import COMMIT, lay_into_cache, write_model

from nibblevec import Encoder
from nibblevec._hub import find_model
from nibblevec._layouts.registry import READ_NAMES

OTHER_COMMIT = "f" * 40


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_args: Any, **_options: Any) -> Any:
        raise AssertionError("a network call")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.mark.usefixtures("no_network")
def test_local_path_makes_no_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_model(tmp_path / "owner" / "model")
    monkeypatch.chdir(tmp_path)
    model = Encoder("owner/model")  # which could be the name of a repository
    assert find_model("owner/model", READ_NAMES).folder == str(folder)
    assert model.encode("tea").shape == (30,)


def test_local_path_does_not_import_the_hub(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "model")
    program = (
        "import sys; from nibblevec import Encoder; Encoder(sys.argv[1]); Encoder();"
        "assert not any(name.startswith('huggingface_hub') for name in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program, str(folder)], check=True)


@pytest.mark.usefixtures("no_network")
def test_cached_repository(tmp_path: Path) -> None:
    local = write_model(tmp_path / "model")
    lay_into_cache(tmp_path / "cache", "owner/model", local)
    model = Encoder("owner/model", cache_folder=tmp_path / "cache", local_files_only=True)
    assert np.array_equal(model.encode("tea"), Encoder(local).encode("tea"))
    assert repr(model).startswith("Encoder('owner/model'")


@pytest.mark.usefixtures("no_network")
def test_names_and_cache_as_in_sentence_transformers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    local = write_model(tmp_path / "local")
    lay_into_cache(tmp_path / "cache", "sentence-transformers/model", local)
    monkeypatch.setenv("SENTENCE_TRANSFORMERS_HOME", str(tmp_path / "cache"))
    model = Encoder("model", local_files_only=True)
    assert np.array_equal(model.encode("tea"), Encoder(local).encode("tea"))
    again = pickle.loads(pickle.dumps(model))
    assert np.array_equal(again.encode("tea"), model.encode("tea"))
    assert repr(model).startswith("Encoder('sentence-transformers/model'")
    with pytest.raises(OSError, match="other: no such folder, and it is not in the hub's cache"):
        Encoder("other", local_files_only=True)
    with pytest.raises(OSError, match="it is not in the hub's cache"):
        Encoder("model", cache_folder=tmp_path / "nowhere", local_files_only=True)


@pytest.mark.usefixtures("no_network")
def test_revision(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    lay_into_cache(cache, "owner/model", write_model(tmp_path / "old", seed=1), OTHER_COMMIT)
    lay_into_cache(cache, "owner/model", write_model(tmp_path / "new", seed=2))
    for revision, local in ((None, "new"), (OTHER_COMMIT, "old"), (COMMIT, "new")):
        model = Encoder("owner/model", cache_folder=cache, revision=revision, local_files_only=True)
        assert np.array_equal(model.encode("tea"), Encoder(tmp_path / local).encode("tea"))


@pytest.mark.usefixtures("no_network")
def test_pickle_keeps_the_commit(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    lay_into_cache(cache, "owner/model", write_model(tmp_path / "old", seed=1), OTHER_COMMIT)
    model = Encoder("owner/model", cache_folder=cache, local_files_only=True)
    content = pickle.dumps(model)
    lay_into_cache(cache, "owner/model", write_model(tmp_path / "new", seed=2))  # main moves on
    again = pickle.loads(content)
    assert len(content) < 1000
    assert np.array_equal(again.encode("tea"), model.encode("tea"))


@pytest.mark.usefixtures("no_network")
def test_repository_that_is_not_cached(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"owner/other: no such folder, and .*not in the hub's cache"):
        Encoder("owner/other", cache_folder=tmp_path, local_files_only=True)
    with pytest.raises(OSError, match="not in the hub's cache"):
        Encoder("owner/other", cache_folder=tmp_path, revision="v1", local_files_only=True)


def test_without_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*_args: Any, **_options: Any) -> Any:
        raise socket.gaierror("Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unreachable)
    with pytest.raises(OSError, match="owner/model: no such folder, and the hub did not give it"):
        Encoder("owner/model", cache_folder=tmp_path)


def test_what_is_asked_of_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    folder = write_model(tmp_path / COMMIT)
    asked: list[tuple[str, dict[str, Any]]] = []

    def give(name: str, **options: Any) -> str:
        asked.append((name, options))
        return str(folder)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", give)
    Encoder("owner/model", cache_folder=tmp_path, revision="v1", token="secret")
    assert asked == [
        (
            "owner/model",
            {
                "revision": "v1",
                "cache_dir": str(tmp_path),
                "token": "secret",
                "local_files_only": False,
                "allow_patterns": list(READ_NAMES),
            },
        )
    ]
    assert b"secret" not in pickle.dumps(Encoder("owner/model", token="secret"))


@pytest.mark.usefixtures("no_network")
@pytest.mark.parametrize("name", ["./model", "../model", "/nowhere/model", "a/b/c", "~/model", ""])
def test_what_cannot_be_a_repository(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    with pytest.raises((FileNotFoundError, ValueError)):
        Encoder(name)


@pytest.mark.usefixtures("no_network")
@pytest.mark.parametrize("name", ["model.gguf", "owner/model.GGUF", "./model.gguf"])
def test_a_file_that_is_missing_is_no_repository(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match="No such file or directory") as caught:
        Encoder(name)
    assert caught.value.filename == str((tmp_path / name).absolute())
