"""The command `nibblevec encode`: what it reads and what it writes."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bits import bits
from cli_cases import (
    DIM,
    TEXTS,
    Encode,
    assert_ok,
    encode_fixture,  # noqa: F401
    encoder_fixture,  # noqa: F401
    model_fixture,  # noqa: F401
    read_json_lines,
    richer_fixture,  # noqa: F401
    working_directory_fixture,  # noqa: F401
    write,
    write_json_lines,
)
from click.testing import CliRunner

from nibblevec import Encoder
from nibblevec._cli import main
from nibblevec._cli.encode import BLOCK_TEXTS
from nibblevec._precision import PRECISIONS, Precision


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
