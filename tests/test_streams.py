"""Streams of a process: a stdin that pauses, vectors somebody waits for, a stderr that fails."""

from __future__ import annotations

import errno
import io
import json
import logging
import os
import random
import signal
import subprocess
import sys
import threading
import time
import unicodedata
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import chain
from pathlib import Path
from typing import IO, Any

import numpy as np
import pytest
from bits import bits
from click.testing import CliRunner
from tiny_models import write_model

from nibblevec import Encoder
from nibblevec._cli import main
from nibblevec._io.lines import _line_blocks
from nibblevec._io.vector_files import JsonLinesWriter, NpyWriter
from nibblevec._progress import ProgressBar, lenient, lenient_stderr
from nibblevec.evaluation import read_retrieval_set

DIM = 30
TEXTS = ["a cup of tea", "the market fell"] * 700

posix_only = pytest.mark.skipif(os.name != "posix", reason="pipes and signals of POSIX")
needs_full = pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("streams") / "model", dim=DIM)


@pytest.fixture(scope="module")
def encoder(model: Path) -> Encoder:
    return Encoder(model)


@pytest.fixture(autouse=True)
def working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "nibblevec", *arguments]


# Bars and words whose stderr fails


class Broken(io.TextIOBase):
    """A stream on which everything raises an error."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def __getattribute__(self, name: str) -> Any:
        if name in ("write", "flush", "isatty", "fileno", "writelines"):
            raise self.error
        return super().__getattribute__(name)


class Bare:
    """A text stream with few methods."""

    def __init__(self) -> None:
        self.content = ""

    def write(self, text: str) -> None:
        self.content += text


def closed() -> io.StringIO:
    stream = io.StringIO()
    stream.close()
    return stream


def closed_file() -> io.TextIOWrapper:
    stream = io.TextIOWrapper(io.BufferedWriter(io.BytesIO()))
    stream.close()
    return stream


def detached() -> io.TextIOWrapper:
    stream = io.TextIOWrapper(io.BytesIO())
    stream.detach()
    return stream


def reader_gone() -> io.TextIOWrapper:
    reading, writing = os.pipe()
    os.close(reading)
    return open(writing, "w", buffering=1, encoding="utf-8")


def descriptor_gone() -> io.TextIOWrapper:
    # Not closed, for another file would get its number.
    return open(os.open(os.devnull, os.O_RDONLY), "w", encoding="utf-8")


def full_pipe() -> io.TextIOWrapper:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with suppress(BlockingIOError):
        while True:
            os.write(writing, bytes(4096))
    stream = open(writing, "w", encoding="utf-8")  # noqa: SIM115
    stream.reader = reading  # type: ignore[attr-defined]
    return stream


BROKEN: dict[str, Callable[[], Any]] = {
    "full disk": lambda: Broken(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))),
    "I/O error": lambda: Broken(OSError(errno.EIO, os.strerror(errno.EIO))),
    "closed in other words": lambda: Broken(ValueError("this stream has ended")),
    "no such method": lambda: Broken(AttributeError("write")),
    "anything": lambda: Broken(RuntimeError("no kernel")),
    "closed": closed,
    "closed file": closed_file,
    "detached": detached,
    "reader gone": reader_gone,
    "descriptor gone": descriptor_gone,
    "full pipe": full_pipe,
    "bare": Bare,
    "None": lambda: None,
    "object": object,
}


def drop(stream: Any) -> None:
    """Close what would raise an error again where it is collected."""
    if isinstance(stream, io.TextIOWrapper):
        if hasattr(stream, "reader"):
            os.close(stream.reader)
        with suppress(OSError, ValueError):
            stream.close()


@contextmanager
def stderr_is(stream: Any) -> Iterator[None]:
    before = sys.stderr
    sys.stderr = stream
    try:
        yield
    finally:
        sys.stderr = before


def assert_no_lock_is_held() -> None:
    from tqdm import tqdm

    free: list[bool] = []

    def take() -> None:
        free.append(_acquired(tqdm.get_lock()))

    thread = threading.Thread(target=take)
    thread.start()
    thread.join(timeout=10)
    assert free == [True]


def _acquired(lock: Any) -> bool:
    taken = all(inner.acquire(timeout=5) for inner in lock.locks)
    for inner in lock.locks[::-1]:
        inner.release()
    return taken


@posix_only
@pytest.mark.parametrize("kind", BROKEN)
def test_encode_goes_on_without_the_bar(encoder: Encoder, kind: str) -> None:
    stream = BROKEN[kind]()
    with stderr_is(stream):
        vectors = encoder.encode(TEXTS, show_progress_bar=True, batch_size=1)
    assert np.array_equal(bits(vectors), bits(encoder.encode(TEXTS)))
    assert_no_lock_is_held()
    drop(stream)


@pytest.mark.parametrize("kind", ["full disk", "anything", "closed"])
def test_a_stderr_that_fails_in_the_middle(
    encoder: Encoder, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    class Failing(io.StringIO):
        left = 2

        def write(self, text: str) -> int:
            self.left -= 1
            if self.left < 0:
                BROKEN[kind]().write(text)
            return super().write(text)

    monkeypatch.setenv("TQDM_MININTERVAL", "0")
    stream = Failing()
    with stderr_is(stream):
        vectors = encoder.encode(TEXTS, show_progress_bar=True, batch_size=1)
    assert np.array_equal(bits(vectors), bits(encoder.encode(TEXTS)))
    assert stream.left < 0
    assert_no_lock_is_held()


@pytest.mark.filterwarnings("default")
def test_warnings_and_logs_of_a_closed_stderr(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = closed()
    logger = logging.getLogger("nibblevec")
    handler = logging.StreamHandler(stream)
    monkeypatch.setattr(logger, "handlers", [handler])
    monkeypatch.setattr(logger, "level", logging.INFO)
    # As outside of the tests, which listen in another way.
    monkeypatch.setattr(warnings, "showwarning", lambda *_, **__: sys.stderr.write("warning"))
    with stderr_is(stream):
        cutting = Encoder(model, device="cuda", max_seq_length=1)
        vectors = cutting.encode(TEXTS, show_progress_bar=True)
    assert len(vectors) == len(TEXTS)


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("kind", BROKEN)
def test_warnings_on_a_broken_stderr(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """Of a tokenizer, of a table that grows, of a device, and of a retrieval set."""
    folder = write_model(tmp_path / "model")
    content = json.loads((folder / "tokenizer.json").read_text())
    content["added_tokens"] = [{**content["added_tokens"][0], "id": 1}]
    (folder / "tokenizer.json").write_text(json.dumps(content))
    records = {"corpus": [{"_id": "d", "text": "tea"}] * 2, "queries": [{"_id": "q", "text": "a"}]}
    for name, lines in records.items():
        (tmp_path / f"{name}.jsonl").write_text("\n".join(map(json.dumps, lines)))
    (tmp_path / "qrels").mkdir()
    rows = ("query-id", "corpus-id", "score"), ("q", "d", "1"), ("q", "e", "1")
    (tmp_path / "qrels" / "test.tsv").write_text("".join("\t".join(row) + "\n" for row in rows))
    monkeypatch.setattr(logging.getLogger("nibblevec"), "propagate", False)  # to the tests
    shown: list[str] = []

    def show(message: Warning | str, *_: object, **__: object) -> None:
        shown.append(str(message))
        sys.stderr.write("warning")

    monkeypatch.setattr(warnings, "showwarning", show)
    stream = BROKEN[kind]()
    with stderr_is(stream):
        loaded = Encoder(folder, device="cuda")
        loaded.save_pretrained(tmp_path / "model.gguf")
        if kind.startswith("closed"):  # what `logging` itself lets through
            read_retrieval_set(str(tmp_path), name="set")
    assert [word for word in ("has the id", "become", "CPU") if word in "".join(shown)] == [
        *("has the id", "become", "CPU")
    ]
    assert len(shown) == 3
    assert (tmp_path / "model.gguf").exists()
    drop(stream)


def test_warnings_that_are_errors(model: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(UserWarning, match="CPU"):
            Encoder(model, device="cuda")


@posix_only
@pytest.mark.parametrize("kind", BROKEN)
@pytest.mark.parametrize("out", ["out.npy", "-"])
def test_the_command_goes_on_without_words(
    model: Path, encoder: Encoder, monkeypatch: pytest.MonkeyPatch, kind: str, out: str
) -> None:
    Path("in.txt").write_text("".join(f"{text}\n" for text in TEXTS))
    stdout = io.TextIOWrapper(io.BytesIO())
    monkeypatch.setattr(sys, "stdout", stdout)
    for arguments, code in (
        (["in.txt", "-o", out], 0),
        (["in.txt", "-o", "out.txt"], 2),
        (["in.txt", "-o", out, "--model", "./nothing"], 1),
    ):
        stream = BROKEN[kind]()
        with stderr_is(stream), pytest.raises(SystemExit) as end:
            main(["encode", "--model", str(model), *arguments])
        assert end.value.code == code
        drop(stream)
    if out == "-":
        stdout.seek(0)
        vectors = np.array([json.loads(line)["embedding"] for line in stdout], np.float32)
    else:
        vectors = np.load(out)
    assert np.array_equal(vectors, encoder.encode(TEXTS, normalize_embeddings=True))


@posix_only
@needs_full
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_exit_codes_where_stderr_is_full(model: Path, unbuffered: str) -> None:
    Path("in.txt").write_text("tea\n")
    environment = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
    script = (
        f"import nibblevec; model = nibblevec.Encoder({str(model)!r})\n"
        "vectors = model.encode(['tea'] * 5000, show_progress_bar=True)\n"
        "print(len(vectors))\n"
    )
    with open("/dev/full", "wb") as full:
        for arguments, code, words in (
            (command("encode", "in.txt", "-o", "out.npy", "--model", str(model)), 0, b""),
            (command("encode", "in.txt", "-o", "out"), 2, b""),
            (command("info", "./nothing"), 1, b""),
            ([sys.executable, "-c", script], 0, b"5000\n"),
        ):
            done = subprocess.run(
                arguments, stdout=subprocess.PIPE, stderr=full, env=environment,
                timeout=60, check=False,
            )  # fmt: skip
            assert (done.returncode, done.stdout) == (code, words)
    assert np.load("out.npy").shape == (1, DIM)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("TQDM_BAR_FORMAT", "{nonsense}"),
        ("TQDM_NCOLS", "wide"),
        ("TQDM_DISABLE", "1"),
        ("TQDM_MININTERVAL", "often"),
        ("TQDM_WRITE_BYTES", "1"),
    ],
)
def test_what_the_environment_says_to_the_bar(model: Path, variable: str, value: str) -> None:
    Path("in.txt").write_text("tea\n" * 3)
    done = subprocess.run(
        command("encode", "in.txt", "-o", "out.npy", "--model", str(model)),
        env={**os.environ, variable: value}, stderr=subprocess.PIPE, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0
    assert np.load("out.npy").shape == (3, DIM)
    assert b"3 texts in" in done.stderr
    assert b"Traceback" not in done.stderr
    if variable == "TQDM_DISABLE":
        assert done.stderr.startswith(b"3 texts in")


def test_a_bar_in_ascii(model: Path) -> None:
    Path("in.txt").write_text("tea\n" * 3)
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    script = (
        f"import nibblevec; model = nibblevec.Encoder({str(model)!r})\n"
        "model.encode(['tea'] * 3, show_progress_bar=True)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=environment, stderr=subprocess.PIPE, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0
    assert b"|##########|" in done.stderr


@posix_only
def test_the_thread_of_the_bar_draws_without_errors() -> None:
    """tqdm draws slow bars from a thread of its own, to which nobody else listens."""
    from tqdm import tqdm

    stream = reader_gone()
    with stderr_is(stream), ProgressBar(total=5) as bar:
        drawn = [instance for instance in list(tqdm._instances) if hasattr(instance, "start_t")]
        assert drawn
        for instance in drawn:
            instance.refresh()
        bar.update(2)
        assert bar.n == 2
    drop(stream)


def test_lenient_streams_pass_on_what_they_can() -> None:
    file = io.BytesIO()
    stream = io.TextIOWrapper(file, encoding="ascii", errors="backslashreplace")
    stream.write("before ")
    tolerant = lenient(stream)
    assert lenient(tolerant) is tolerant
    assert tolerant == stream
    assert not tolerant.isatty()
    tolerant.write("caf\u00e9\n")
    tolerant.buffer.write(b"bytes\n")
    assert file.getvalue() == b"before caf\\xe9\nbytes\n"
    with stderr_is(stream), lenient_stderr():
        assert sys.stderr == stream
        assert sys.stderr is not stream
    text = lenient(Bare())  # type: ignore[arg-type]
    assert text.write("tea") == 3
    with pytest.raises(TypeError):
        text.write(b"tea")  # type: ignore[arg-type]


# Vectors that somebody waits for


def test_lines_do_not_depend_on_the_reads() -> None:
    content = "\ufefftea\r\ncaf\u00e9 \U0001f600\u4e2d\n\n\r\nte\ra\ncup\u2028\x85\nhot".encode()
    expected = ["tea", "caf\u00e9 \U0001f600\u4e2d", "", "", "te\ra", "cup\u2028\x85", "hot"]
    numbers = random.Random(0)
    for longest in (1, 2, 3, 5, 1000):
        for end in (b"", b"\n", b"\r\n"):
            file = io.BytesIO(content + end)

            def read(_size: int, file: IO[bytes] = file, longest: int = longest) -> bytes:
                return file.read(numbers.randint(1, longest))

            lists = list(_line_blocks(read, "x", None, no_json=False))
            assert list(chain.from_iterable(lists)) == expected
            assert all(lists)


def test_a_line_in_many_pieces_takes_linear_time() -> None:
    def seconds(pieces: int) -> float:
        left = iter([b"a cup of tea. " * 60] * pieces)
        begin = time.process_time()
        (lines,) = _line_blocks(lambda _: next(left, b""), "x", None, no_json=False)
        assert [len(line) for line in lines] == [840 * pieces]
        return time.process_time() - begin

    seconds(1000)
    # Ten times as much; joining anew at each piece would take a hundred times as long.
    assert min(seconds(40_000) for _ in range(3)) < 50 * min(seconds(4000) for _ in range(3))


def test_blocks_are_full_where_nobody_waits(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nibblevec._io.lines.READ_BYTES", 10)
    monkeypatch.setattr("nibblevec._cli.encode.BLOCK_TEXTS", 4)
    sizes: list[int] = []
    for writer in (NpyWriter, JsonLinesWriter):
        write = writer.write

        def counted(self: Any, texts: Any, vectors: Any, write: Any = write) -> None:
            sizes.append(len(texts))
            write(self, texts, vectors)

        monkeypatch.setattr(writer, "write", counted)
    content = b"tea\n" * 10
    for out, expected in (("out.npy", [4, 4, 2]), ("out.jsonl", [4, 4, 2]), ("-", [2, 3, 2, 3])):
        sizes.clear()
        arguments = ["encode", "-", "-o", out, "--model", str(model), "--quiet"]
        result = CliRunner().invoke(main, arguments, input=content)
        assert result.exit_code == 0, result.output
        assert sizes == expected
    monkeypatch.setattr("nibblevec._io.lines.READ_BYTES", 1000)
    sizes.clear()
    CliRunner().invoke(main, arguments, input=content)
    assert sizes == [4, 4, 2]  # one read is not one block, however much it gave


@contextmanager
def co_process(*arguments: str, **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    options.setdefault("stdin", subprocess.PIPE)
    process = subprocess.Popen(
        command("encode", *arguments, "-o", "-"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        **options,
    )
    timer = threading.Timer(60, process.kill)  # what waits for ever ends with no line
    timer.start()
    try:
        yield process
    finally:
        timer.cancel()
        process.kill()
        process.communicate()


def say(stream: IO[bytes] | None, content: bytes) -> None:
    assert stream is not None
    stream.write(content)
    stream.flush()


def hear(process: subprocess.Popen[bytes]) -> str:
    assert process.stdout is not None
    return str(json.loads(process.stdout.readline())["text"])


@pytest.mark.parametrize("quiet", [["--quiet"], []])
def test_a_line_is_answered_at_once(model: Path, quiet: list[str]) -> None:
    with co_process("-", "--model", str(model), *quiet) as process:
        for number in range(20):
            say(process.stdin, b"tea %d\n" % number)
            assert hear(process) == f"tea {number}"
        say(process.stdin, b"cup\r\nhot\nca")  # what is complete is answered, the rest when it is
        assert [hear(process), hear(process)] == ["cup", "hot"]
        say(process.stdin, b"f\xc3")
        say(process.stdin, b"\xa9\n\nlast")
        assert [hear(process), hear(process)] == ["caf\u00e9", ""]
        assert process.stdin is not None
        process.stdin.close()
        assert hear(process) == "last"
        assert process.wait(timeout=30) == 0
        process.stdin = None


@posix_only
def test_a_line_of_a_fifo_is_answered_at_once(model: Path) -> None:
    os.mkfifo("in.jsonl")
    with co_process("in.jsonl", "--model", str(model)) as process:
        with open("in.jsonl", "wb", buffering=0) as fifo:
            for text in ("tea", "cup"):
                fifo.write(b'{"text": "%s"}\n' % text.encode())
                assert hear(process) == text
        assert process.wait(timeout=30) == 0


@posix_only
def test_a_stdin_that_does_not_wait_has_not_ended(model: Path) -> None:
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    with (
        open(writing, "wb", buffering=0) as pipe,
        co_process("-", "--model", str(model), stdin=reading) as process,
    ):
        os.close(reading)
        for text in ("tea", "cup"):
            pipe.write(text.encode() + b"\n")
            assert hear(process) == text
            time.sleep(0.05)
        pipe.close()
        assert process.wait(timeout=30) == 0


@posix_only
def test_ctrl_c_between_lines(model: Path) -> None:
    with co_process("-", "--model", str(model), "--quiet") as process:
        say(process.stdin, b"tea\n")
        assert hear(process) == "tea"
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=30) == 1
        assert process.stderr is not None
        assert process.stderr.read().decode().split() == ["Aborted!"]


@posix_only
def test_nohup_goes_on(model: Path) -> None:
    def ignore() -> None:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    with co_process("-", "--model", str(model), preexec_fn=ignore) as process:
        for text in ("tea", "cup"):
            say(process.stdin, text.encode() + b"\n")
            assert hear(process) == text
            process.send_signal(signal.SIGHUP)


@posix_only
def test_reader_of_stdout_goes_away_between_lines(model: Path) -> None:
    with co_process("-", "--model", str(model), "--quiet") as process:
        say(process.stdin, b"tea\n")
        assert hear(process) == "tea"
        assert process.stdout is not None
        process.stdout.close()
        process.stdout = None
        say(process.stdin, b"cup\n")
        assert process.wait(timeout=30) == 1
        assert process.stderr is not None
        assert process.stderr.read() == b""


def line_ends() -> str:
    """All characters at which `str.splitlines` ends a line, but those at which a text does."""
    ends = (
        chr(code) for code in range(sys.maxunicode + 1) if len(f"a{chr(code)}b".splitlines()) > 1
    )
    return "".join(end for end in ends if end != "\n")


def test_no_line_of_json_has_a_line_end_within(model: Path) -> None:
    texts = [f"tea{end}cup \u00e9\U0001f600" for end in line_ends()] + [line_ends() + "."]
    content = "".join(f"{text}\n" for text in texts).encode()
    arguments = ["encode", "-", "--model", str(model), "--quiet", "-o"]
    result = CliRunner().invoke(main, [*arguments, "-"], input=content)
    assert result.exit_code == 0, result.output
    assert CliRunner().invoke(main, [*arguments, "out.jsonl"], input=content).exit_code == 0
    written = result.stdout_bytes.decode()
    assert Path("out.jsonl").read_bytes().decode() == written
    lines = written.splitlines()
    assert [json.loads(line)["text"] for line in lines] == texts
    assert "\u00e9\U0001f600" in written  # the rest stays readable
    assert lines[0].startswith('{"text": "tea\\u000bcup')


def test_no_line_of_json_has_a_control_character_within(model: Path) -> None:
    texts = ["".join(map(chr, (*range(11, 13), *range(14, 32), *range(127, 160)))) + "\u00a0\u00e9"]
    arguments = ["encode", "-", "--model", str(model), "--quiet", "-o", "-"]
    result = CliRunner().invoke(main, arguments, input=(texts[0] + "\n").encode())
    assert result.exit_code == 0, result.output
    (line,) = result.stdout_bytes.decode().splitlines()
    assert json.loads(line)["text"] == texts[0]
    assert not any(unicodedata.category(character) == "Cc" for character in line)
    assert "\u00a0\u00e9" in line
