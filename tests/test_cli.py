"""The command line: files and streams in and out, exit codes, and what an error leaves behind."""

from __future__ import annotations

import errno
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bits import bits
from click.testing import CliRunner, Result
from numpy.typing import NDArray
from tiny_models import TABLE, lay_into_cache, write_model

from nibblevec import Encoder, kernels
from nibblevec._cli import main
from nibblevec._cli.encode import BLOCK_TEXTS
from nibblevec._precision import PRECISIONS, Precision
from nibblevec._threads import available_cpus

DIM = 30
TEXTS = [
    "a cup of tea",
    "",
    "caf\u00e9 \U0001f600 \u4e2d\u6587",
    'the "stock" market\\ fell',
    " tea ",
]

posix_only = pytest.mark.skipif(os.name != "posix", reason="signals and limits of POSIX")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("cli") / "model", dim=DIM)


@pytest.fixture(scope="module")
def encoder(model: Path) -> Encoder:
    return Encoder(model)


@pytest.fixture(autouse=True)
def working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    # `--threads` sets it for the process, which here is that of the tests.
    monkeypatch.setenv("RAYON_NUM_THREADS", os.environ.get("RAYON_NUM_THREADS", ""))
    return tmp_path


Encode = Callable[..., Result]


@pytest.fixture
def encode(model: Path) -> Encode:
    def run(*arguments: str, stdin: bytes | None = None) -> Result:
        return CliRunner().invoke(main, ["encode", "--model", str(model), *arguments], input=stdin)

    return run


def write(name: str, texts: Sequence[str]) -> str:
    Path(name).write_bytes("".join(f"{text}\n" for text in texts).encode())
    return name


def write_json_lines(name: str, records: Sequence[object]) -> str:
    Path(name).write_bytes(b"".join(json.dumps(record).encode() + b"\n" for record in records))
    return name


def read_json_lines(content: bytes) -> tuple[list[str], NDArray[np.float32]]:
    records = [json.loads(line) for line in content.decode().splitlines()]
    assert all(set(record) == {"text", "embedding"} for record in records)
    texts = [record["text"] for record in records]
    return texts, np.array([record["embedding"] for record in records], np.float32)


def assert_ok(result: Result) -> None:
    assert result.exit_code == 0, result.output


def assert_fails(result: Result, code: int, *messages: str) -> None:
    assert result.exit_code == code, result.output
    assert result.stdout == ""
    for message in messages:
        assert message in result.stderr
    assert "Traceback" not in result.stderr


# What is encoded


def test_text_file_to_npy(encode: Encode, encoder: Encoder) -> None:
    result = encode(write("in.txt", TEXTS), "-o", "out.npy")
    assert_ok(result)
    assert result.stdout == ""
    vectors = np.load("out.npy")
    assert vectors.dtype == np.float32
    expected = encoder.encode(TEXTS, normalize_embeddings=True)
    assert np.array_equal(bits(vectors), bits(expected))
    assert sorted(os.listdir()) == ["in.txt", "out.npy"]


@pytest.mark.parametrize("suffix", [".jsonl", ".ndjson", ".JSONL"])
def test_json_lines_equal_npy(encode: Encode, suffix: str) -> None:
    source = write("in.txt", TEXTS)
    assert_ok(encode(source, "-o", "out.npy"))
    assert_ok(encode(source, "-o", "out" + suffix))
    content = Path("out" + suffix).read_bytes()
    assert "caf\u00e9 \U0001f600 \u4e2d\u6587".encode() in content  # readable, not escaped
    texts, vectors = read_json_lines(content)
    assert texts == TEXTS
    assert np.array_equal(vectors, np.load("out.npy"))


@pytest.mark.parametrize("arguments", [[], ["--model", "bundled"]])
def test_bundled_model(arguments: list[str]) -> None:
    source = write("in.txt", TEXTS)
    result = CliRunner().invoke(main, ["encode", source, "-o", "out.npy", *arguments])
    assert_ok(result)
    expected = Encoder().encode(TEXTS, normalize_embeddings=True)
    assert np.array_equal(bits(np.load("out.npy")), bits(expected))


def test_stdin_to_stdout(encode: Encode, encoder: Encoder) -> None:
    result = encode("-", "-o", "-", stdin="\n".join(TEXTS).encode())
    assert_ok(result)
    texts, vectors = read_json_lines(result.stdout_bytes)
    assert texts == TEXTS
    assert np.array_equal(vectors, encoder.encode(TEXTS, normalize_embeddings=True))


@pytest.mark.parametrize("name", ["in.jsonl", "in.ndjson", "IN.JSONL"])
def test_json_lines_input(encode: Encode, encoder: Encoder, name: str) -> None:
    records = [{"id": number, "text": text, "more": [1]} for number, text in enumerate(TEXTS)]
    assert_ok(encode(write_json_lines(name, records), "-o", "out.npy"))
    expected = encoder.encode(TEXTS, normalize_embeddings=True)
    assert np.array_equal(bits(np.load("out.npy")), bits(expected))


def test_column(encode: Encode, encoder: Encoder) -> None:
    source = write_json_lines("in.jsonl", [{"text": "tea", "body": text} for text in TEXTS])
    assert_ok(encode(source, "-o", "out.npy", "--column", "body", "--no-normalize"))
    assert np.array_equal(bits(np.load("out.npy")), bits(encoder.encode(TEXTS)))


@pytest.mark.parametrize(
    ("arguments", "options"),
    [
        (["--no-normalize"], {}),
        (["--normalize"], {"normalize_embeddings": True}),
        (["--truncate-dim", "7"], {"truncate_dim": 7, "normalize_embeddings": True}),
        (["--truncate-dim", "1", "--no-normalize"], {"truncate_dim": 1}),
        (["--precision", "float32"], {"normalize_embeddings": True}),
        (["--threads", "1", "--no-normalize"], {}),
        (["--threads", "3", "--no-normalize"], {}),
        (["--quiet", "--no-normalize"], {}),
    ],
)
def test_options(
    encode: Encode, encoder: Encoder, arguments: list[str], options: dict[str, Any]
) -> None:
    source = write("in.txt", TEXTS)
    result = encode(source, "-o", "out.npy", *arguments)
    assert_ok(result)
    assert np.array_equal(bits(np.load("out.npy")), bits(encoder.encode(TEXTS, **options)))
    if "--quiet" in arguments:
        assert result.stderr == ""
    else:
        assert f"{len(TEXTS)} texts in " in result.stderr
        assert "rows/s" in result.stderr


@pytest.fixture(scope="module")
def richer(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same model with ranges and a prompt."""
    folder = tmp_path_factory.mktemp("cli") / "richer"
    tuned = Encoder(model, prompts={"query": "hot "})
    tuned.fit_ranges(TEXTS)
    tuned.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("precision", PRECISIONS)
def test_precision(richer: Path, precision: Precision) -> None:
    source = write("in.txt", TEXTS)
    for out in ("out.npy", "out.jsonl"):
        arguments = [source, "-o", out, "--model", str(richer), "--precision", precision]
        assert_ok(CliRunner().invoke(main, ["encode", *arguments]))
    expected = Encoder(richer).encode(TEXTS, normalize_embeddings=True, precision=precision)
    vectors = np.load("out.npy")
    assert vectors.dtype == expected.dtype
    assert vectors.tobytes() == expected.tobytes()
    buffer = io.BytesIO()
    np.save(buffer, vectors)
    assert Path("out.npy").read_bytes() == buffer.getvalue()
    records = [json.loads(line) for line in Path("out.jsonl").read_text("utf-8").splitlines()]
    assert [record["text"] for record in records] == TEXTS
    read = np.array([record["embedding"] for record in records]).astype(expected.dtype)
    assert read.tobytes() == expected.tobytes()
    if np.issubdtype(expected.dtype, np.integer):
        assert all(type(number) is int for record in records for number in record["embedding"])


def test_prompt_and_length(richer: Path) -> None:
    source = write("in.txt", ["tea", "cup of tea"])
    options = ["--prompt-name", "query", "--max-length", "2", "--no-normalize"]
    arguments = [source, "-o", "out.npy", "--model", str(richer), *options]
    assert_ok(CliRunner().invoke(main, ["encode", *arguments]))
    expected = Encoder(richer).encode(["hot tea", "hot cup"])
    assert np.array_equal(bits(np.load("out.npy")), bits(expected))


def test_several_inputs_in_order(encode: Encode, encoder: Encoder) -> None:
    first = write("b.txt", TEXTS)
    second = write_json_lines("a.jsonl", [{"text": "the market"}])
    result = encode(first, "-", second, first, "-o", "out.jsonl", stdin=b"hot\ndrink")
    assert_ok(result)
    texts, vectors = read_json_lines(Path("out.jsonl").read_bytes())
    assert texts == [*TEXTS, "hot", "drink", "the market", *TEXTS]
    assert np.array_equal(vectors, encoder.encode(texts, normalize_embeddings=True))


def test_more_than_a_block(encode: Encode, encoder: Encoder) -> None:
    texts = [f"tea {'cup ' * (number % 7)}" for number in range(2 * BLOCK_TEXTS + 3)]
    assert_ok(encode(write("in.txt", texts), "-o", "out.npy"))
    expected = encoder.encode(texts, normalize_embeddings=True)
    assert np.array_equal(bits(np.load("out.npy")), bits(expected))


def test_more_characters_than_a_block(
    encode: Encode, encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nibblevec._cli.encode.BLOCK_CHARACTERS", 1000)
    texts = ["tea", "b" * 1005, "cup", "c" * 997, "drink", "hot" * 1000]
    assert_ok(encode(write("in.txt", texts), "-o", "out.npy", "--no-normalize"))
    assert np.array_equal(bits(np.load("out.npy")), bits(encoder.encode(texts)))


@pytest.mark.parametrize(
    ("content", "texts"),
    [
        (b"", []),
        (b"\n", [""]),
        (b"tea", ["tea"]),
        (b"tea\n", ["tea"]),
        (b"tea\r\ncup\r\n", ["tea", "cup"]),
        (b"tea\r\ncup", ["tea", "cup"]),
        (b"tea\n\n\ncup\n", ["tea", "", "", "cup"]),
        (b"\r\n\r\n", ["", ""]),
        (b"\xef\xbb\xbftea\ncup\n", ["tea", "cup"]),
        (b"\xef\xbb\xbftea\n\xef\xbb\xbfcup\n", ["tea", "\ufeffcup"]),
        (b"te\ra\n", ["te\ra"]),
        (b"tea\x0b\x0ccup\x1c\xc2\x85\xe2\x80\xa8hot\n", ["tea\x0b\x0ccup\x1c\x85\u2028hot"]),
        (b" tea \n", [" tea "]),
    ],
)
def test_lines_of_text(encode: Encode, content: bytes, texts: list[str]) -> None:
    Path("in.txt").write_bytes(content)
    for arguments in (["in.txt"], ["-"]):
        assert_ok(encode(*arguments, "-o", "out.jsonl", "--quiet", stdin=content))
        lines = Path("out.jsonl").read_bytes().split(b"\n")
        assert lines.pop() == b""
        assert [json.loads(line)["text"] for line in lines] == texts
        assert_ok(encode(*arguments, "-o", "out.npy", stdin=content))
        assert np.load("out.npy").shape == (len(texts), DIM)


@pytest.mark.parametrize(
    ("content", "texts"),
    [
        (b"", []),
        (b'{"text": "tea"}', ["tea"]),
        (b'{"text": "tea"}\r\n\r\n  \n{"text": ""}\n', ["tea", ""]),
        (b'\xef\xbb\xbf{"text": "te\\u0061"}\n', ["tea"]),
        (b'{"text": "\\ud83d\\ude00 \\u0000"}\n', ["\U0001f600 \x00"]),
        ('{"text": "\u2028"}\n'.encode(), ["\u2028"]),
    ],
)
def test_lines_of_json(encode: Encode, content: bytes, texts: list[str]) -> None:
    Path("in.jsonl").write_bytes(content)
    result = encode("in.jsonl", "-o", "-", "--quiet")
    assert_ok(result)
    lines = result.stdout_bytes.split(b"\n")
    assert [json.loads(line)["text"] for line in lines[:-1]] == texts


def test_no_texts_to_stdout(encode: Encode) -> None:
    result = encode("-", "-o", "-", stdin=b"")
    assert_ok(result)
    assert result.stdout_bytes == b""


def test_output_replaces_an_old_one(encode: Encode) -> None:
    Path("out.npy").write_bytes(b"old")
    assert_ok(encode(write("in.txt", TEXTS), "-o", "out.npy"))
    assert np.load("out.npy").shape == (len(TEXTS), DIM)
    assert sorted(os.listdir()) == ["in.txt", "out.npy"]


def test_output_in_a_folder(encode: Encode) -> None:
    Path("deep/er").mkdir(parents=True)
    assert_ok(encode(write("in.txt", TEXTS), "-o", "deep/er/out.npy"))
    assert os.listdir("deep/er") == ["out.npy"]


# What is refused


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


# The whole process: streams, signals, a full disk


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "nibblevec", *arguments]


def run(*arguments: str, **options: Any) -> subprocess.CompletedProcess[bytes]:
    options.setdefault("stdout", subprocess.PIPE)
    # With it a failing stdout has nothing left that could fail again.
    options.setdefault("env", {**os.environ, "PYTHONUNBUFFERED": ""})
    return subprocess.run(
        command(*arguments), stderr=subprocess.PIPE, timeout=60, check=False, **options
    )


def test_pipes(model: Path, encoder: Encoder) -> None:
    stdin = "".join(f"{text}\n" for text in TEXTS).encode()
    done = run("encode", "-", "-o", "-", "--model", str(model), "--quiet", input=stdin)
    assert (done.returncode, done.stderr) == (0, b"")
    texts, vectors = read_json_lines(done.stdout)
    assert texts == TEXTS
    assert np.array_equal(vectors, encoder.encode(TEXTS, normalize_embeddings=True))


def test_streams_are_utf8_in_any_locale(model: Path) -> None:
    environment = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = run(
        "encode", "-", "-o", "-", "--model", str(model), "--quiet",
        input="caf\u00e9 \U0001f600\n".encode(), env=environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert read_json_lines(done.stdout)[0] == ["caf\u00e9 \U0001f600"]


@pytest.mark.parametrize("arguments", [("--version",), ("--help",), ("encode", "-h"), ("info",)])
def test_texts_about_itself(arguments: tuple[str, ...]) -> None:
    result = CliRunner().invoke(main, arguments)
    assert_ok(result)
    expected = {
        "--version": [f"nibblevec, version {version('nibblevec')}"],
        "--help": ["encode", "info", "convert", "verify"],
        "encode": [
            "INPUT...",
            ".ndjson",
            "LF or CRLF",
            "any length",
            "--truncate-dim",
            "--no-normalize",
            "--column",
            "--threads",
        ],
        "info": ["bundled", "SSE, 4-bit", "sse_q4", "30522", "512", "7935720", kernels()[0]],
    }
    for piece in expected[arguments[0]]:
        assert piece in " ".join(result.output.split())


def test_info_of_a_folder(model: Path) -> None:
    result = CliRunner().invoke(main, ["info", str(model)])
    assert_ok(result)
    lines = dict(line.split(":", 1) for line in result.output.splitlines())
    assert lines["model"].strip() == str(model)
    assert lines["dims"].strip() == str(DIM)
    assert lines["table bytes"].strip() == str((model / TABLE).stat().st_size)
    assert int(lines["threads"]) >= 1


def test_info_of_ranges(richer: Path) -> None:
    result = CliRunner().invoke(main, ["info", str(richer)])
    lines = dict(line.split(":", 1) for line in result.output.splitlines())
    assert lines["ranges"].strip() == "30 dims, normalised; 30 dims, not normalised"
    assert lines["prompts"].strip() == "'query': 'hot '"


def test_info_of_what_is_no_model(working_directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert_fails(CliRunner().invoke(main, ["info", "./nothing"]), 1, "No such folder", "nothing")
    source = write("in.txt", TEXTS)
    assert_fails(CliRunner().invoke(main, ["info", source]), 1, f"{source}: not a folder")
    assert_fails(CliRunner().invoke(main, ["info", str(working_directory)]), 1, "looked for")
    monkeypatch.setenv("NIBBLEVEC_NUM_THREADS", "many")
    assert_fails(CliRunner().invoke(main, ["info"]), 1, "NIBBLEVEC_NUM_THREADS")


def test_run_as_a_module(tmp_path: Path) -> None:
    done = run("--version", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.decode().split() == ["nibblevec,", "version", version("nibblevec")]
    done = run("encode")
    assert done.returncode == 2
    assert b"Usage: python -m nibblevec encode" in done.stderr


def interrupted(
    arguments: Sequence[str], ready: Callable[[], bool], number: int = signal.SIGINT
) -> tuple[int, str, float]:
    """Exit code, stderr, and seconds from the signal that is sent when ready to the end."""
    process = subprocess.Popen(
        command(*arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.PIPE
    )
    limit = time.perf_counter() + 20
    while not ready():
        assert time.perf_counter() < limit
        assert process.poll() is None
        time.sleep(0.01)
    begin = time.perf_counter()
    process.send_signal(number)
    # It may wait on stdin, which stays open until it has ended.
    code = process.wait(timeout=30)
    seconds = time.perf_counter() - begin
    _, err = process.communicate()
    return code, err.decode(), seconds


def part_is_there() -> bool:
    return any(name.endswith(".part") for name in os.listdir())


@posix_only
@pytest.mark.parametrize("out", ["out.npy", "out.jsonl"])
def test_ctrl_c(model: Path, out: str) -> None:
    source = write("in.txt", ["the stock market fell, a cup of tea!"] * 500_000)
    Path(out).write_bytes(b"old")
    code, err, seconds = interrupted(
        ["encode", source, "-o", out, "--model", str(model)],
        lambda: any(
            name.endswith(".part") and os.path.getsize(name) > 100_000 for name in os.listdir()
        ),
    )
    assert code == 1
    assert "Aborted!" in err
    assert "Traceback" not in err
    assert seconds < 1
    assert sorted(os.listdir()) == ["in.txt", out]
    assert Path(out).read_bytes() == b"old"


@posix_only
def test_ctrl_c_while_it_waits_for_stdin(model: Path) -> None:
    code, err, seconds = interrupted(
        ["encode", "-", "-o", "out.npy", "--model", str(model)], part_is_there
    )
    assert (code, os.listdir()) == (1, [])
    assert "Aborted!" in err
    assert seconds < 1


@posix_only
@pytest.mark.parametrize("source", ["in.txt", "-"])
@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_signals_that_end(model: Path, source: str, name: str) -> None:
    number = getattr(signal, name)
    write("in.txt", ["the stock market fell, a cup of tea!"] * 500_000)
    Path("out.npy").write_bytes(b"old")
    code, err, seconds = interrupted(
        ["encode", source, "-o", "out.npy", "--model", str(model), "--quiet"],
        part_is_there,
        number,
    )
    assert (code, err) == (128 + number, "")
    assert seconds < 1
    assert sorted(os.listdir()) == ["in.txt", "out.npy"]
    assert Path("out.npy").read_bytes() == b"old"


@posix_only
@pytest.mark.parametrize("out", ["out.npy", "out.jsonl"])
def test_full_disk(model: Path, out: str) -> None:
    import resource

    source = write("in.txt", TEXTS * 2000)
    Path(out).write_bytes(b"old")
    done = run(
        "encode", source, "-o", out, "--model", str(model), "--quiet",
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000)),
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.decode() == f"Error: [Errno 27] File too large: '{out}'\n"
    assert sorted(os.listdir()) == ["in.txt", out]
    assert Path(out).read_bytes() == b"old"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
@pytest.mark.parametrize("count", [1, 3000])
def test_full_stdout(model: Path, count: int) -> None:
    source = write("in.txt", ["tea"] * count)
    with open("/dev/full", "wb") as full:
        done = run("encode", source, "-o", "-", "--model", str(model), "--quiet", stdout=full)
    assert done.returncode == 1
    assert done.stderr.decode() == "Error: [Errno 28] No space left on device\n"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
@pytest.mark.parametrize("arguments", [("info",), ("verify",), ("convert", "bundled", "x.gguf")])
def test_full_stdout_of_other_commands(arguments: tuple[str, ...]) -> None:
    with open("/dev/full", "wb") as full:
        done = run(*arguments, stdout=full)
    assert done.returncode == 1
    assert done.stderr.decode() == "Error: [Errno 28] No space left on device\n"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
@pytest.mark.parametrize("arguments", [("--version",), ("--help",), ("encode", "--help")])
def test_full_stdout_of_words_about_itself(arguments: tuple[str, ...]) -> None:
    with open("/dev/full", "wb") as full:
        done = run(*arguments, stdout=full)
    assert done.returncode == 1
    assert done.stderr.decode() == "Error: [Errno 28] No space left on device: 'stdout'\n"


@pytest.fixture
def contradicting(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model at which a warning is due."""
    folder = tmp_path_factory.mktemp("contradicting") / "a \x1b[1m model"
    shutil.copytree(model, folder)
    content = json.loads((folder / "tokenizer.json").read_text())
    content["added_tokens"][0]["id"] += 1
    (folder / "tokenizer.json").write_text(json.dumps(content))
    return folder


@pytest.mark.parametrize(
    "arguments",
    [
        ["info", "MODEL"],
        ["encode", "in.txt", "-o", "out.npy", "--quiet", "--model", "MODEL"],
        ["convert", "MODEL", "out", "--format", "float32"],
        ["verify", "MODEL"],
    ],
)
def test_warnings_are_lines(contradicting: Path, arguments: list[str]) -> None:
    write("in.txt", ["tea"])
    done = run(*(str(contradicting) if argument == "MODEL" else argument for argument in arguments))
    assert done.returncode == 0, done.stderr
    lines = done.stderr.decode().splitlines()
    assert len(lines) == len(set(lines)) > 0
    assert all(line.startswith("warning: ") for line in lines)
    assert r"a \x1b[1m model" in lines[0]
    assert "has the id" in lines[0]


def test_warnings_of_who_calls_stay(contradicting: Path) -> None:
    show = warnings.showwarning
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        result = CliRunner().invoke(main, ["info", str(contradicting)])
    assert result.exit_code == 0, result.output
    assert result.stderr.startswith("warning: ")
    assert warnings.showwarning is show
    result = CliRunner().invoke(main, ["info", str(contradicting)])
    assert isinstance(result.exception, UserWarning)


@posix_only
@pytest.mark.parametrize(
    ("number", "arguments", "name"),
    [(0, ["-", "-o", "out.npy"], "stdin"), (1, ["in.txt", "-o", "-"], "stdout")],
)
def test_closed_stream(model: Path, number: int, arguments: list[str], name: str) -> None:
    write("in.txt", TEXTS)
    done = run(
        "encode", *arguments, "--model", str(model), "--quiet",
        preexec_fn=lambda: os.close(number),
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.decode() == f"Error: [Errno 9] Bad file descriptor: '{name}'\n"
    assert os.listdir() == ["in.txt"]


@posix_only
def test_closed_stderr(model: Path) -> None:
    write("in.txt", TEXTS)
    done = run(
        "encode", "in.txt", "-o", "out.npy", "--model", str(model),
        preexec_fn=lambda: os.close(2),
    )  # fmt: skip
    assert done.returncode == 0
    assert len(np.load("out.npy")) == len(TEXTS)


@posix_only
@pytest.mark.parametrize("count", [1, 20_000])
def test_reader_of_stdout_goes_away(model: Path, count: int) -> None:
    source = write("in.txt", ["tea"] * count)
    process = subprocess.Popen(
        command("encode", source, "-o", "-", "--model", str(model), "--quiet"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    if count > 1:
        assert json.loads(process.stdout.readline())["text"] == "tea"
    process.stdout.close()
    assert process.stderr.read() == b""
    assert process.wait(timeout=30) == 1
    process.stderr.close()


@posix_only
def test_input_from_a_fifo(encode: Encode) -> None:
    os.mkfifo("in")
    writer = subprocess.Popen(["sh", "-c", "printf 'tea\\ncup\\n' > in"])
    assert_ok(encode("in", "-o", "out.npy"))
    assert writer.wait(timeout=10) == 0
    assert np.load("out.npy").shape == (2, DIM)


def test_npy_file_is_what_numpy_writes(encode: Encode) -> None:
    assert_ok(encode(write("in.txt", TEXTS), "-o", "out.npy"))
    buffer = io.BytesIO()
    np.save(buffer, np.load("out.npy"))
    assert Path("out.npy").read_bytes() == buffer.getvalue()


@posix_only
def test_output_has_the_usual_permissions(encode: Encode) -> None:
    before = os.umask(0o027)
    try:
        assert_ok(encode(write("in.txt", TEXTS), "-o", "out.npy"))
    finally:
        os.umask(before)
    assert Path("out.npy").stat().st_mode & 0o777 == 0o640


@posix_only
def test_output_of_the_longest_name(encode: Encode) -> None:
    out = "x" * 251 + ".npy"
    assert_ok(encode(write("in.txt", TEXTS), "-o", out))
    assert sorted(os.listdir()) == ["in.txt", out]
