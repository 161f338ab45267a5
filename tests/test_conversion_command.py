"""The command `nibblevec convert`."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bits import assert_same_bits
from conversion_cases import (
    DIM,
    ROWS,
    convert,
    lines_of,
    posix_only,
    source_fixture,  # noqa: F401
    sse_model,
    vectors_of,
    working_directory,  # noqa: F401
)

from nibblevec import Encoder
from nibblevec._layouts import conversion
from nibblevec._layouts.loading import load_model
from nibblevec._layouts.saving import save_model
from nibblevec._layouts.tokenizers import load_tokenizer_of


def test_convert_tells_what_it_wrote(source: str) -> None:
    lines = lines_of(convert(source, "out.gguf", "--format", "float16", "--name", "a name",
                             "--license", "mit"))  # fmt: skip
    assert lines["written"] == "out.gguf"
    assert (lines["layout"], lines["row format"]) == ("GGUF", "float16")
    assert lines["bytes"] == str(os.path.getsize("out.gguf"))
    table_bytes = ROWS * DIM * 2
    assert lines["table bytes"] == f"{table_bytes} (of the source: {2 * table_bytes})"
    model, again = load_model(source), load_model("out.gguf")
    assert (again.name, again.license) == ("a name", "mit")
    rows, other = (m.table.dequantize().astype(np.float64) for m in (model, again))
    assert float(lines["RMSE"]) == pytest.approx(((rows - other) ** 2).mean() ** 0.5, rel=1e-4)
    found = re.fullmatch(r"mean (\S+), least (\S+)", lines["cosine"])
    assert found
    norms = np.linalg.norm(rows, axis=1) * np.linalg.norm(other, axis=1)
    cosines = (rows * other).sum(axis=1) / norms
    assert float(found[1]) == pytest.approx(cosines.mean(), abs=1e-6)
    assert float(found[2]) == pytest.approx(cosines.min(), abs=1e-6)
    lines = lines_of(convert("out.gguf", "back", "--format", "float32"))
    assert lines["layout"] == "SSE, float"
    assert lines["RMSE"] == "0"
    assert int(lines["bytes"]) == sum(file.stat().st_size for file in Path("back").iterdir())
    lines = lines_of(convert("back", "small", "--format", "sse_q4"))
    assert lines["layout"] == "SSE, 4-bit"
    for row_format, bits in (("q4_k", 4.5), ("q6_k", 6.5625)):
        lines = lines_of(convert("small", f"{row_format}.gguf", "--format", row_format))
        assert lines["row format"] == row_format
        assert int(lines["table bytes"].split()[0]) == ROWS * DIM * bits / 8
        assert 0.99 < float(lines["cosine"].split()[-1]) < 1
    assert lines_of(convert("small", "default.gguf"))["row format"] == "q4_k"


@pytest.mark.parametrize("out", ["out", "out.gguf"])
def test_convert_tells_what_it_wrote_though_it_is_gone(
    source: str, monkeypatch: pytest.MonkeyPatch, out: str
) -> None:
    """Another process may have put something else in its place at once."""
    save = save_model

    def save_and_lose(*arguments: Any, **options: Any) -> None:
        save(*arguments, **options)
        os.rename(out, "elsewhere")

    monkeypatch.setattr(conversion, "save_model", save_and_lose)
    lines = lines_of(convert(source, out))
    files = [path for path in (Path("elsewhere"), *Path("elsewhere").rglob("*")) if path.is_file()]
    assert int(lines["bytes"]) == sum(path.stat().st_size for path in files)
    assert lines["written"] == out


@pytest.mark.parametrize("out", ["out", "out.gguf"])
def test_convert_warns_once_of_a_tokenizer(source: str, out: str) -> None:
    path = Path(source, "tokenizer.json")
    content = json.loads(path.read_text())
    content["added_tokens"] = [{**content["added_tokens"][0], "id": 1}]
    path.write_text(json.dumps(content))
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        result = convert(source, out)
    assert result.exit_code == 0, result.output
    assert result.stderr.count("warning: ") == result.stderr.count("has the id") == 1
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        Encoder(out).save_pretrained("again")
    assert len(caught) == 1


def test_convert_the_bundled_model() -> None:
    lines = lines_of(convert("bundled", "out.gguf", "--format", "float32"))
    assert lines["RMSE"] == "0"
    model = load_model("out.gguf")
    assert (model.name, model.license) == ("nibblevec-en-512", "apache-2.0")
    texts = ["Tea is a hot drink.", ""]
    assert_same_bits(Encoder("out.gguf").encode(texts), Encoder().encode(texts))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["source"], "Missing argument 'OUT'"),
        (["source", "full"], "full is not empty; --force replaces a model in it"),
        (["source", "file.gguf"], "file.gguf exists; --force replaces it"),
        (["source", "source", "--force"], "source is also MODEL"),
        (["source", "link", "--force"], "link is also MODEL"),
        (["source", "source/0_StaticEmbedding", "--force"], "is within MODEL"),
        (["source", "-"], "a model is not written to stdout"),
        (["link", "source/new"], "source/new is within MODEL"),
        ([".", "out.gguf"], "out.gguf is within MODEL"),
        (["source", "missing/out.gguf"], "the folder of missing/out.gguf does not exist"),
        (["source", "out", "--to", "gguf"], "a GGUF file must end in .gguf"),
        (["source", "out.gguf", "--to", "sse"], "only a GGUF file may end in .gguf"),
        (["source", "out.gguf/", "--to", "sse"], "only a GGUF file may end in .gguf"),
        (["source", "out", "--name", "tea"], "only a GGUF file has a place for it"),
        (["source", "out", "--license", "mit"], "only a GGUF file has a place for it"),
        (["source", "out", "--format", "q4_k"], "sse holds sse_q4, float32, float16, bfloat16"),
        (["source", "out", "--format", "q5"], "--format"),
        (["source", "out", "--to", "onnx"], "--to"),
        (["source", "out", "--threads", "0"], "--threads"),
    ],
)
@posix_only
def test_convert_that_is_refused(source: str, arguments: list[str], message: str) -> None:
    Path("full").mkdir()
    Path("full/note").write_text("mine")
    Path("file.gguf").write_bytes(b"old")
    Path("link").symlink_to(source)
    before = sorted(os.walk("."))
    result = convert(*arguments)
    assert result.exit_code == 2, result.output
    assert message in result.output
    assert sorted(os.walk(".")) == before
    assert Path("file.gguf").read_bytes() == b"old"


def test_convert_that_would_lose_something(source: str) -> None:
    result = convert(source, "out", "--to", "static")
    assert result.exit_code == 1
    assert "Error: a StaticEmbedding folder has no place for a Dynamic Tanh" in result.output
    assert os.listdir() == ["source"]
    result = convert("./nothing", "out")
    assert result.exit_code == 1
    assert "No such folder" in result.output


def test_convert_with_force(source: str) -> None:
    Path("full").mkdir()
    Path("full/note").write_text("mine")
    Path("file.gguf").write_bytes(b"old")
    lines_of(convert(source, "full", "--force"))
    lines_of(convert(source, "file.gguf", "--force"))
    assert Path("full/note").read_text() == "mine"
    for path in ("full", "file.gguf"):
        assert_same_bits(vectors_of(load_model(path)), vectors_of(load_model(source)))
    lines_of(convert("file.gguf", "new"))
    lines_of(convert("source", "source.2"))
    Path("empty").mkdir()
    lines_of(convert("file.gguf", "empty"))
    assert sorted(os.listdir("empty")) == sorted(os.listdir("new"))


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "nibblevec", *arguments]


@posix_only
@pytest.mark.parametrize("out", ["out.gguf", "new", "old"])
def test_full_disk(source: str, out: str) -> None:
    import resource

    save_model(sse_model("float16"), "old", "sse")
    before = sorted(os.walk("."))
    limit = ROWS * DIM  # less than the table
    done = subprocess.run(
        command("convert", source, out, "--force"), capture_output=True, check=False, timeout=60,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.decode() == f"Error: [Errno 27] File too large: '{out}'\n"
    assert sorted(os.walk(".")) == before
    assert load_model("old").table.format == "float16"


def converting(out: str, seconds: float | None, number: signal.Signals) -> int:
    """The exit code of a conversion that gets a signal so long after it has begun to write."""
    process = subprocess.Popen(
        command("convert", "bundled", out, "--force", "--format", "float32"),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    limit = time.perf_counter() + 30
    while process.poll() is None and time.perf_counter() < limit:
        names = [name for _, folders, files in os.walk(".") for name in folders + files]
        if any(name.endswith(".part") for name in names):
            break
    if seconds is not None:
        time.sleep(seconds)
        process.send_signal(number)
    return process.wait(timeout=30)


@posix_only
@pytest.mark.parametrize("out", ["out.gguf", "new", "old"])
def test_kill_at_any_moment(out: str) -> None:
    """The target is what it was before, or whole; what is not finished is hidden."""
    save_model(sse_model("float16"), "old", "sse")
    for seconds in (0.0, 0.01, 0.03, None):
        code = converting(out, seconds, signal.SIGKILL)
        whole = seconds is None
        assert code == (0 if whole else -signal.SIGKILL)
        names = {name for name in os.listdir() if not name.endswith(".part")}
        assert names == ({"old", out} if whole else {"old"})
        if out in names:
            model = load_model(out)
            load_tokenizer_of(model)
            assert model.table.format == ("float32" if whole else "float16")


@posix_only
@pytest.mark.parametrize("out", ["out.gguf", "new", "old"])
def test_sigterm(out: str) -> None:
    save_model(sse_model("float16"), "old", "sse")
    before = sorted(os.walk("."))
    assert converting(out, 0, signal.SIGTERM) == 128 + signal.SIGTERM
    assert sorted(os.walk(".")) == before


@posix_only
def test_convert_from_what_is_no_file() -> None:
    os.mkfifo("model.gguf")
    result = convert("model.gguf", "out")
    assert result.exit_code == 1
    assert "model.gguf" in result.output
    assert os.listdir() == ["model.gguf"]
