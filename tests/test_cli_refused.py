"""What the command `nibblevec encode` refuses, and its words."""

from __future__ import annotations

import errno
import io
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bits import bits
from cli_cases import (
    DIM,
    TEXTS,
    Encode,
    assert_fails,
    assert_ok,
    encode_fixture,  # noqa: F401
    model_fixture,  # noqa: F401
    posix_only,
    run,
    working_directory_fixture,  # noqa: F401
    write,
    write_json_lines,
)
from tiny_models import TABLE, lay_into_cache, write_model

from nibblevec import Encoder
from nibblevec._cli.encode import BLOCK_TEXTS
from nibblevec._threads import available_cpus


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("in.txt", b"tea\ncup\n\xff\xfe\n", "in.txt, line 3: not UTF-8"),
        ("in.txt", b"caf\xe9", "in.txt, line 1: not UTF-8"),
        ("in.txt", b"\xed\xa0\x80\n", "in.txt, line 1: not UTF-8"),
        ("in.jsonl", b'{"text": "tea"}\n\n{"text": "\xff"}', "in.jsonl, line 3: not UTF-8"),
        ("in.jsonl", b'{"text": "tea"}\n{"text": \n', "in.jsonl, line 2: not JSON"),
        ("in.jsonl", b'{"text": "tea"} {"text": "cup"}\n', "in.jsonl, line 1: not JSON"),
        ("in.jsonl", b"[" * 200_000, "in.jsonl, line 1: not JSON"),
        ("in.jsonl", b"1" * 200_000, "in.jsonl, line 1: not JSON"),
        ("in.jsonl", b'\n["tea"]\n', "in.jsonl, line 2: not a JSON object"),
        ("in.jsonl", b"null\n", "in.jsonl, line 1: not a JSON object"),
        (
            "in.jsonl",
            b'{"body": "tea", "id": 1}\n',
            "in.jsonl, line 1: no text under 'text' (it has 'body', 'id')",
        ),
        ("in.jsonl", b"{}\n", "in.jsonl, line 1: no text under 'text' (it has nothing)"),
        ("in.jsonl", b'{"text": null}\n', "in.jsonl, line 1: no text under 'text' (not text)"),
        ("in.jsonl", b'{"text": ["tea"]}\n', "in.jsonl, line 1: no text under 'text' (not text)"),
        (
            "in.jsonl",
            b'{"text": "tea"}\n' * (BLOCK_TEXTS + 1) + b'{"text": "a\\ud800"}\n',
            f"in.jsonl, line {BLOCK_TEXTS + 2}: a lone surrogate",
        ),
    ],
)
@pytest.mark.parametrize("out", ["out.npy", "out.jsonl"])
def test_bad_line(encode: Encode, name: str, content: bytes, message: str, out: str) -> None:
    Path(name).write_bytes(content)
    Path(out).write_bytes(b"old")
    assert_fails(encode(write("good.txt", TEXTS), name, "-o", out), 1, "Error: " + message)
    assert sorted(os.listdir()) == sorted([name, "good.txt", out])
    assert Path(out).read_bytes() == b"old"


def test_bad_line_of_stdin(encode: Encode) -> None:
    assert_fails(encode("-", "-o", "out.npy", stdin=b"tea\n\xff"), 1, "stdin, line 2: not UTF-8")
    assert os.listdir() == []


@pytest.mark.parametrize(
    ("out", "message"),
    [
        ("out", "out must end in .npy, .jsonl, .ndjson, or be -"),
        ("out.txt", "out.txt must end in .npy"),
        ("out.npy.gz", "out.npy.gz must end in .npy"),
        (".npy", ".npy must end in .npy"),
        ("folder", "folder is a folder"),
        ("folder.npy", "folder.npy is a folder"),
        ("missing/out.npy", "the folder of missing/out.npy does not exist"),
        ("in.txt/out.npy", "the folder of in.txt/out.npy does not exist"),
        ("in.jsonl", "in.jsonl is also an input"),
        ("./folder/../in.jsonl", "in.jsonl is also an input"),
        ("link.jsonl", "link.jsonl is also an input"),
    ],
)
@posix_only
def test_output_that_cannot_be(encode: Encode, out: str, message: str) -> None:
    write("in.txt", TEXTS)
    source = write_json_lines("in.jsonl", [{"text": "tea"}])
    Path("folder").mkdir()
    Path("folder.npy").mkdir()
    Path("link.jsonl").symlink_to("in.jsonl")
    before = sorted(os.listdir()), Path(source).read_bytes()
    assert_fails(encode("in.txt", source, "-o", out), 2, "Invalid value for -o", message)
    assert (sorted(os.listdir()), Path(source).read_bytes()) == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Missing argument 'INPUT...'"),
        (["in.txt"], "Missing option '-o'"),
        (["nothing.txt", "-o", "out.npy"], "'nothing.txt' does not exist"),
        ([".", "-o", "out.npy"], "'.' is a directory"),
        (["in.txt", "-o", "out.npy", "--truncate-dim", "0"], "--truncate-dim"),
        (["in.txt", "-o", "out.npy", "--truncate-dim", "1.5"], "--truncate-dim"),
        (["in.txt", "-o", "out.npy", "--threads", "0"], "--threads"),
        (["in.txt", "-o", "out.npy", "--truncate-dim", "31"], "truncate_dim 31 is not in 1..30"),
        (["in.CSV", "-o", "out.npy"], "in.CSV: only files with a text a line and JSON lines"),
        (["in.txt", "in.txt.gz", "-o", "out.npy"], "in.txt.gz: only files with a text a line"),
        (["in.txt", "-o", "out.npy", "--max-length", "0"], "--max-length"),
        (["in.txt", "-o", "out.npy", "--prompt-name", "x"], "no prompt has the name 'x'"),
        (["in.txt", "-o", "out.npy", "--precision", "int8"], "no ranges are stored for 30 dims"),
        (["in.txt", "-o", "out.npy", "--column", "text"], "no INPUT ends in .jsonl or .ndjson"),
        (["in.txt", "-", "-o", "out.npy", "--column", "body"], "no INPUT ends in .jsonl"),
        (["in.txt", "-o", "out.npy", "--precision", "int3"], "--precision"),
    ],
)
def test_bad_usage(encode: Encode, arguments: list[str], message: str) -> None:
    names = sorted(write(name, TEXTS) for name in ("in.txt", "in.CSV", "in.txt.gz"))
    assert_fails(encode(*arguments), 2, message)
    assert sorted(os.listdir()) == names


@posix_only
@pytest.mark.parametrize("kind", ["FIFO", "device"])
def test_output_onto_what_is_no_file(encode: Encode, kind: str) -> None:
    source = write("in.txt", TEXTS)
    if kind == "FIFO":
        os.mkfifo("out.npy")
    else:
        Path("out.npy").symlink_to(os.devnull)
    assert_fails(encode(source, "-o", "out.npy"), 2, "out.npy is not a regular file")
    assert sorted(os.listdir()) == ["in.txt", "out.npy"]


@posix_only
@pytest.mark.parametrize("old", [None, b"old"])
def test_output_through_a_link(encode: Encode, old: bytes | None) -> None:
    Path("deep").mkdir()
    if old is not None:
        Path("deep/target").write_bytes(old)
    Path("out.npy").symlink_to("deep/target")
    source = write("in.txt", TEXTS)
    assert_ok(encode(source, "-o", "out.npy"))
    assert os.readlink("out.npy") == "deep/target"
    assert os.listdir("deep") == ["target"]
    assert np.load("deep/target").shape == (len(TEXTS), DIM)
    Path("deep/target").unlink()
    Path("deep").rmdir()
    assert_fails(encode(source, "-o", "out.npy"), 2, "the folder of out.npy does not exist")


@pytest.mark.parametrize("variable", ["NIBBLEVEC_ISA", "NIBBLEVEC_NUM_THREADS"])
def test_bad_environment(model: Path, variable: str) -> None:
    source = write("in.txt", TEXTS)
    done = run(
        "encode", source, "-o", "out.npy", "--model", str(model),
        env={**os.environ, variable: "many"},
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.decode().startswith(f"Error: {variable}")  # and no bar before it
    assert os.listdir() == ["in.txt"]


@posix_only
@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write all")
def test_folder_that_cannot_be_written(encode: Encode) -> None:
    source = write("in.txt", TEXTS)
    Path("deep").mkdir(mode=0o500)
    result = encode(source, "-o", "deep/out.npy")
    assert_fails(result, 1, "Error: [Errno 13] Permission denied: 'deep/out.npy'")


def test_unwritable_output_is_told_before_the_bar(
    encode: Encode, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: str, *_arguments: Any, **_options: Any) -> Any:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)

    source = write("in.txt", TEXTS)
    monkeypatch.setattr("nibblevec._io.output_files.open", refuse, raising=False)
    result = encode(source, "-o", "out.npy")
    assert_fails(result, 1)
    assert result.stderr == "Error: [Errno 13] Permission denied: 'out.npy'\n"


@pytest.mark.parametrize("module", ["refusals", "lines"])
def test_input_that_cannot_be_read_is_named(
    encode: Encode, monkeypatch: pytest.MonkeyPatch, module: str
) -> None:
    class Broken(io.RawIOBase):
        def readable(self) -> bool:
            return True

        def readinto(self, _buffer: Any) -> int:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    source = write("in.txt", TEXTS)

    def open_broken(path: str, *arguments: Any, **options: Any) -> Any:
        return Broken() if path == source else open(path, *arguments, **options)

    monkeypatch.setattr(f"nibblevec._io.{module}.open", open_broken, raising=False)
    assert_fails(encode(source, "-o", "out.npy"), 1, f"{os.strerror(errno.EIO)}: 'in.txt'")
    assert os.listdir() == ["in.txt"]


@pytest.mark.parametrize(("threads", "expected"), [("1", 1), ("1000000000000", None)])
def test_threads_of_the_package_are_bounded(
    encode: Encode, threads: str, expected: int | None
) -> None:
    result = encode(write("in.txt", TEXTS), "-o", "out.npy", "--threads", threads)
    assert_ok(result)
    assert int(os.environ["RAYON_NUM_THREADS"]) == (expected or available_cpus())


@pytest.mark.parametrize("arguments", [["encode", "in.txt", "-o", "out.npy", "--model"], ["info"]])
def test_model_of_the_hub(
    model: Path, arguments: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    write("in.txt", TEXTS)
    home = tmp_path_factory.mktemp("hub")
    lay_into_cache(home / "hub", "owner/model", model)
    environment = {**os.environ, "HF_HOME": str(home), "HF_HUB_OFFLINE": "1"}
    environment.pop("HF_HUB_CACHE", None)
    done = run(*arguments, "owner/model", env=environment)
    assert done.returncode == 0, done.stderr
    if arguments == ["info"]:
        assert re.search(rb"model: +owner/model\n", done.stdout)
    else:
        expected = Encoder(model).encode(TEXTS, normalize_embeddings=True)
        assert np.array_equal(bits(np.load("out.npy")), bits(expected))
    done = run(*arguments, "owner/other", env=environment)
    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr.decode().startswith("Error: owner/other: no such folder, and the hub")


def test_bad_model(encode: Encode) -> None:
    Path("empty").mkdir()
    source = write("in.txt", TEXTS)
    assert_fails(encode(source, "-o", "out.npy", "--model", "empty"), 1, f"looked for {TABLE}")
    damaged = write_model(Path("damaged"))
    (damaged / TABLE).write_bytes(b"123")
    result = encode(source, "-o", "out.npy", "--model", "damaged")
    assert_fails(result, 1, TABLE, "3 bytes, expected a whole number of rows")
    result = encode(source, "-o", "out.npy", "--model", source)
    assert_fails(result, 1, f"{source}: not a folder")
    result = encode(source, "-o", "out.npy", "--model", "./nothing")
    assert_fails(result, 1, "No such folder", "nothing")
    assert sorted(os.listdir()) == ["damaged", "empty", "in.txt"]
