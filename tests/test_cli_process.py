"""The whole process of the command: streams, signals, a full disk."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import subprocess
import time
import warnings
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
from cli_cases import (
    DIM,
    TEXTS,
    Encode,
    assert_fails,
    assert_ok,
    command,
    encode_fixture,  # noqa: F401
    encoder_fixture,  # noqa: F401
    model_fixture,  # noqa: F401
    posix_only,
    read_json_lines,
    richer_fixture,  # noqa: F401
    run,
    working_directory_fixture,  # noqa: F401
    write,
)
from click.testing import CliRunner
from tiny_models import TABLE

from nibblevec import Encoder, kernels
from nibblevec._cli import main


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
