"""Strings of models, files and users on their way to a terminal."""

from __future__ import annotations

import json
import logging
import os
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from tiny_gguf import array, gguf_bytes, model_keys, table_tensor, text
from tiny_models import (
    TOKENIZER,
    VOCABULARY,
    head_parts,
    head_vectors,
    safetensors_file,
    tokenizer_content,
    write_model,
    write_static_embedding,
)

from nibblevec import Encoder, ModelFormatError
from nibblevec._cli import main
from nibblevec._layouts.loading import load_model
from nibblevec._layouts.tokenizers import load_tokenizer_of
from nibblevec._printing import printable

# What clears a screen, turns a line around, hides, begins a line.
HOSTILE = "a\x1b[2J\x9b31m\u202eb\u200b\u2066\u2028\x85\x7f\r\n\t\u00adc\ufeff\U000e0041"
ESCAPED = r"a\x1b[2J\x9b31m\u202eb\u200b\u2066\u2028\x85\x7f\r\n\t\xadc\ufeff\U000e0041"
FORBIDDEN = set(HOSTILE) - set("a[2J31mbc")


def assert_harmless(printed: str) -> None:
    assert not (FORBIDDEN - {"\n"}) & set(printed)
    assert all(c == "\n" or unicodedata.category(c)[0] not in "C" for c in printed)


def test_printable() -> None:
    assert printable(HOSTILE) == ESCAPED
    assert printable("\ud800\udcff") == r"\ud800\udcff"
    for harmless in (
        "",
        "tea",
        "caf\u00e9",
        "\u4e2d\u6587\u3000\u00a0",
        "\U0001f600",
        "e\u0301",
        "\\x1b",
    ):
        assert printable(harmless) == harmless


def test_every_character() -> None:
    """Nothing of Unicode's categories of others or of lines and paragraphs comes through."""
    for number in range(0x110000):
        character = chr(number)
        shown = printable(character)
        if unicodedata.category(character) in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"):
            assert shown.isascii()
            assert shown.isprintable()
            assert shown.startswith("\\")
        else:
            assert shown == character


def test_error_of_a_format() -> None:
    error = ModelFormatError(f"/{HOSTILE}", HOSTILE, HOSTILE)
    assert error.path == f"/{HOSTILE}"  # it still names the file
    assert str(error) == f"/{ESCAPED}: {ESCAPED}: {ESCAPED}"
    error.add(HOSTILE)
    assert_harmless(str(error))


def hostile_gguf(folder: Path, **keys: bytes) -> Path:
    held = {
        **model_keys(),
        "general.name": text(HOSTILE),
        "general.license": text(HOSTILE),
        "sse.prompt.names": array("string", [HOSTILE]),
        "sse.prompt.texts": array("string", [HOSTILE]),
        **keys,
    }
    path = folder / "model.gguf"
    path.write_bytes(gguf_bytes(held, {"token_embd.weight": table_tensor(30)[0]}))
    return path


def test_info(tmp_path: Path) -> None:
    folder = tmp_path / "\x1b]0;\u202e"
    folder.mkdir()
    path = hostile_gguf(folder)
    shown = CliRunner().invoke(main, ["info", str(path)])
    assert shown.exit_code == 0
    assert_harmless(shown.output)
    lines = dict(line.split(":", 1) for line in shown.output.splitlines())
    assert lines["name"].strip() == lines["license"].strip() == ESCAPED
    assert r"\x1b]0;\u202e" in lines["model"]
    assert_harmless(repr(Encoder(path)))


def test_names_that_print_stay(tmp_path: Path) -> None:
    path = hostile_gguf(tmp_path, **{"general.name": text("caf\u00e9 \u4e2d\u6587 \U0001f600")})
    assert (
        "caf\u00e9 \u4e2d\u6587 \U0001f600\n"
        in CliRunner().invoke(main, ["info", str(path)]).output
    )


def assert_fails_harmlessly(*arguments: str) -> str:
    shown = CliRunner().invoke(main, list(arguments))
    assert shown.exit_code in (1, 2)
    assert_harmless(shown.output)
    with_errors = shown.output + shown.stderr
    assert_harmless(with_errors)
    return with_errors


def model_with(folder: Path, change: str) -> Path:
    """A model in which something is wrong that is called as its file says."""
    if change == "architecture":
        folder.mkdir()
        path = folder / "model.gguf"
        keys = {"general.architecture": text(HOSTILE)}
        path.write_bytes(gguf_bytes(keys, {HOSTILE[:9]: table_tensor(30)[0]}))
        return path
    if change == "module":
        folder.mkdir()
        modules = [{"type": f"x.{HOSTILE}", "path": ""}]
        (folder / "modules.json").write_text(json.dumps(modules))
        (folder / f"{HOSTILE}.onnx").touch()
        return folder
    weights = np.ones((len(VOCABULARY), 30), np.float32)
    if change == "second module":
        write_static_embedding(folder, {"embedding.weight": weights})
        modules = json.loads((folder / "modules.json").read_text())
        modules.append({"type": HOSTILE, "path": ""})
        (folder / "modules.json").write_text(json.dumps(modules))
        return folder
    write_model(folder)
    if change == "token":
        content = tokenizer_content()
        content["model"]["vocab"][HOSTILE] = 1 << 40
        (folder / TOKENIZER).write_text(json.dumps(content))
    elif change == "token of the package":
        content = tokenizer_content()
        content["decoder"] = {"type": HOSTILE}
        content["normalizer"] = {"type": HOSTILE}
        (folder / TOKENIZER).write_text(json.dumps(content))
    elif change == "key":
        (folder / TOKENIZER).write_text(
            json.dumps({HOSTILE: 1})[:-1] + "," + json.dumps({HOSTILE: 1})[1:]
        )
    elif change == "tensor":
        header, data = head_parts(head_vectors(30))
        header[HOSTILE] = {"dtype": HOSTILE, "shape": [], "data_offsets": [0, 0]}
        (folder / "model_rest.safetensors").write_bytes(safetensors_file(header, data))
    elif change == "setting":
        settings = {"default_prompt_name": HOSTILE}
        (folder / "config_sentence_transformers.json").write_text(json.dumps(settings))
    return folder


CHANGES = [
    "architecture", "module", "second module", "token", "token of the package", "key", "tensor",
    "setting",
]  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_errors_of_a_model(tmp_path: Path, change: str) -> None:
    path = model_with(tmp_path / "a\x1b[1mb", change)
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        load_tokenizer_of(load_model(path))
    assert_harmless(str(caught.value))
    for command in ("info", "verify"):
        assert "\\x1b[" in assert_fails_harmlessly(command, str(path))


@pytest.mark.skipif(os.name != "posix", reason="names of files that POSIX has")
def test_names_of_files_and_arguments(tmp_path: Path) -> None:
    name = str(tmp_path / "a\x1b[2J\u202e\n.jsonl")
    assert_fails_harmlessly("encode", "--quiet", name, "-o", "-")
    Path(name).write_text('{"text": 3}\n')
    assert "\\x1b[2J" in assert_fails_harmlessly("encode", "--quiet", name, "-o", "-")
    assert_fails_harmlessly("encode", "--quiet", name, "-o", str(tmp_path / "x\x1b[2J.txt"))
    assert_fails_harmlessly("encode", "--quiet", name, "-o", "-", "--column", HOSTILE)
    assert_fails_harmlessly("encode", "--quiet", name, "-o", "-", "--prompt-name", HOSTILE)
    assert_fails_harmlessly("info", name)
    assert_fails_harmlessly("info", name + "\x1b")
    assert_fails_harmlessly("\x1b[2J")
    assert_fails_harmlessly("--\x1b[2J")
    assert_fails_harmlessly("info", "--\x1b[2J")
    assert_fails_harmlessly("eval", "bundled", name)
    assert_fails_harmlessly("convert", name, name)
    assert_fails_harmlessly("convert", "bundled", str(tmp_path / "no\x1b" / "x"))
    written = CliRunner().invoke(main, ["convert", "bundled", str(tmp_path / "x\x1b[2J")])
    assert written.exit_code == 0
    assert_harmless(written.output)


@pytest.mark.foreign  # pytrec_eval frees what new gave
def test_tables_and_json_of_eval(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    pytest.importorskip("ir_measures")
    path = tmp_path / "a\x1b[2J\u202e.jsonl"
    pairs: list[dict[str, Any]] = [
        {"sentence1": "tea", "sentence2": word, "score": score}
        for score, word in enumerate(["stock", "cup", "hot tea", "tea"])
    ]
    path.write_text("".join(json.dumps(pair) + "\n" for pair in pairs))
    for options in ([], ["--json"]):
        shown = CliRunner().invoke(main, ["eval", "bundled", str(path), *options])
        assert shown.exit_code == 0, shown.output
        assert_harmless(shown.output)
        assert_harmless(shown.stderr)
    parsed = json.loads(
        CliRunner().invoke(main, ["eval", "bundled", str(path), "--json", "--quiet"]).output
    )
    assert "\x1b[2J\u202e" in json.dumps(parsed, ensure_ascii=False).replace("\\u001b", "\x1b")
    folder = tmp_path / "set\x1b[2J"
    (folder / "qrels").mkdir(parents=True)
    (folder / "corpus.jsonl").write_text(
        '{"_id": "1", "text": "tea"}\n{"_id": "1", "text": "cup"}\n'
    )
    (folder / "queries.jsonl").write_text('{"_id": "1", "text": "tea"}\n')
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n1\t1\t1\n1\t2\t1\n")
    with caplog.at_level(logging.WARNING):
        shown = CliRunner().invoke(main, ["eval", "bundled", str(folder)])
    assert shown.exit_code == 0, shown.output
    assert len(caplog.messages) == 2
    for message in (*caplog.messages, shown.output, shown.stderr):
        assert_harmless(message)
