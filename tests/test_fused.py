"""From texts to vectors in one native pass: the bits of tokenising first and pooling then."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bits import assert_same_bits
from numpy.typing import NDArray
from tiny_models import VOCABULARY, write_model

import nibblevec
from nibblevec import Encoder, _core
from nibblevec._token_rules import Truncation
from nibblevec._tokenization.native import NativeTokenizer
from nibblevec._vectors import write_floats

FloatArray = NDArray[np.float32]

PIECE_IDS = 1 << 16  # ids that are summed at once
BLOCK_TEXTS = 64  # texts that go through together

every_kernel = pytest.mark.parametrize("kernel", nibblevec.kernels())
linux_only = pytest.mark.skipif(sys.platform != "linux", reason="Linux's account of a process")


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Encoder:
    return Encoder(write_model(tmp_path_factory.mktemp("models") / "model", dim=34))


def random_texts(count: int, longest: int, seed: int = 0) -> list[str]:
    random = np.random.default_rng(seed)
    words = [word.removeprefix("##") for word in VOCABULARY] + ["caf\u00e9", "\u4e2dx", "Tea!"]
    lengths = random.integers(0, longest, count)
    return [" ".join(random.choice(words, length)) for length in lengths]


def in_two_steps(
    encoder: Encoder, texts: list[str], truncation: Truncation, dims: int, normalize: bool
) -> FloatArray:
    model = encoder._model
    tokens = encoder._tokenizer.encode_batch(tuple(texts), truncation)
    out = np.empty((len(texts), dims), np.float32)
    _core.pool(
        model.table.native,
        tokens.ids,
        tokens.offsets,
        out,
        dynamic_tanh=model.native_dynamic_tanh,
        mean=True,
        normalize=normalize,
    )
    return out


def fused(
    encoder: Encoder,
    texts: list[str],
    truncation: Truncation,
    dims: int,
    *,
    normalize: bool = False,
    **options: Any,
) -> tuple[FloatArray, int]:
    assert isinstance(encoder._tokenizer, NativeTokenizer)
    out = np.full((len(texts), dims), 1e30, np.float32)
    cut = write_floats(
        encoder._model,
        encoder._tokenizer,
        tuple(texts),
        truncation,
        out,
        normalize=normalize,
        **options,
    )
    return out, cut


@every_kernel
@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("truncation", [(None, False), (5, False), (5, True), (0, False)])
def test_equals_two_steps(
    encoder: Encoder, kernel: str, normalize: bool, truncation: tuple[int | None, bool]
) -> None:
    cut = Truncation(*truncation)
    for count in (0, 1, 2, BLOCK_TEXTS - 1, BLOCK_TEXTS, BLOCK_TEXTS + 1, 3 * BLOCK_TEXTS + 5):
        texts = random_texts(count, 12, count)
        for dims in (34, 33, 1):
            expected = in_two_steps(encoder, texts, cut, dims, normalize)
            actual, _ = fused(encoder, texts, cut, dims, normalize=normalize, kernel=kernel)
            assert_same_bits(actual, expected)


# Texts whose ids do not fit one piece, before, between and after short ones.
LONG = [
    [PIECE_IDS - 1],
    [PIECE_IDS],
    [PIECE_IDS + 1],
    [3, PIECE_IDS - 3, 2],
    [3, PIECE_IDS - 2, 0, 2],
    [0, 2 * PIECE_IDS, 0, 5],
    [7, 2 * PIECE_IDS + 100, 1, PIECE_IDS + 3, 4],
    [30_000, 30_000, 30_000, 30_000, 0],
]


@every_kernel
@pytest.mark.parametrize("counts", LONG, ids=str)
@pytest.mark.parametrize("max_length", [None, 65_000, PIECE_IDS, PIECE_IDS + 7, 100_000])
def test_long_texts_are_summed_in_pieces(
    encoder: Encoder, kernel: str, counts: list[int], max_length: int | None
) -> None:
    words = ["tea", "hot", "cup", "of", "the"]
    texts = [" ".join(words[i % 5] for i in range(count)) for count in counts]
    truncation = Truncation(max_length)
    expected = in_two_steps(encoder, texts, truncation, 34, True)
    actual, cut = fused(encoder, texts, truncation, 34, normalize=True, kernel=kernel)
    assert_same_bits(actual, expected)
    assert cut == sum(max_length is not None and count > max_length for count in counts)


@pytest.mark.parametrize("piece_characters", [1, 9, 100])
def test_texts_that_are_read_in_pieces(encoder: Encoder, piece_characters: int) -> None:
    texts = [text * 3 for text in random_texts(200, 40)]
    for truncation in (Truncation(), Truncation(20), Truncation(20, keep_end=True)):
        expected = in_two_steps(encoder, texts, truncation, 34, True)
        actual, _ = fused(
            encoder, texts, truncation, 34, normalize=True, piece_characters=piece_characters
        )
        assert_same_bits(actual, expected)


def test_bundled_model(tmp_path: Path) -> None:
    model = Encoder()
    texts = [line for line in Path(__file__).read_text().splitlines() if line] * 5
    expected = in_two_steps(model, texts, Truncation(), 512, True)
    assert_same_bits(model.encode(texts, normalize_embeddings=True, threads=2), expected)
    out = np.lib.format.open_memmap(tmp_path / "o.npy", "w+", np.float32, (len(texts), 512))
    assert_same_bits(np.asarray(model.encode(texts, normalize_embeddings=True, out=out)), expected)


def test_more_ids_than_rows(encoder: Encoder) -> None:
    table = nibblevec.Table.quantize(np.ones((len(VOCABULARY) - 1, 2), np.float32))
    assert isinstance(encoder._tokenizer, NativeTokenizer)
    with pytest.raises(ValueError, match="more ids than the table rows"):
        _core.encode(
            encoder._tokenizer.native, table.native, ("tea",), np.zeros((1, 2), np.float32)
        )


def test_calls_with_other_settings_at_the_same_time(encoder: Encoder, tmp_path: Path) -> None:
    texts = random_texts(3000, 30)
    models = [encoder, Encoder(write_model(tmp_path / "other", dim=64, seed=3))]
    settings = [(models[0], None, 34), (models[1], 7, 64), (models[0], None, 5), (models[1], 7, 9)]
    models[1].max_seq_length = 7
    expected = [
        in_two_steps(model, texts, Truncation(length), dims, False)
        for model, length, dims in settings
    ]
    shared = list(texts)
    failures: list[BaseException] = []
    done = threading.Event()

    def call(index: int) -> None:
        model, _, dims = settings[index]
        try:
            for _ in range(10):
                vectors = model.encode(list(texts), truncate_dim=dims, threads=2)
                assert_same_bits(vectors, expected[index])
                model.encode(shared, truncate_dim=dims)  # whatever it holds just now
        except BaseException as error:
            failures.append(error)

    def disturb() -> None:
        while not done.is_set():
            shared.append("tea")
            shared[len(shared) // 2] = "a cup of " * 50
            if len(shared) > 4000:
                del shared[1000:]

    disturber = threading.Thread(target=disturb)
    callers = [threading.Thread(target=call, args=(index,)) for index in range(len(settings))]
    disturber.start()
    for thread in callers:
        thread.start()
    for thread in callers:
        thread.join()
    done.set()
    disturber.join()
    assert failures == []


FORK_SCRIPT = """
import os, signal, threading
import numpy as np
from nibblevec import Encoder

model = Encoder()
texts = ["a cup of hot tea %d" % i for i in range(70)]
expected = model.encode(texts)
def encode_for_ever():
    while True:
        model.encode(texts)

for _ in range(2):
    threading.Thread(target=encode_for_ever, daemon=True).start()
for _ in range(60):
    child = os.fork()
    if child == 0:
        signal.alarm(60)
        os._exit(0 if np.array_equal(model.encode(texts), expected) else 1)
    _, status = os.waitpid(child, 0)
    if status != 0:
        print("status", status, flush=True)
        os._exit(1)
print("all right", flush=True)
os._exit(0)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_fork_in_the_middle_of_use() -> None:
    # Two threads are somewhere within a call at every fork.
    command = [sys.executable, "-W", "ignore", "-c", FORK_SCRIPT]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=170)
    assert (done.stdout, done.returncode) == ("all right\n", 0), done.stderr


LONG_TEXT_SCRIPT = """
import signal, sys, time
from nibblevec import Encoder

signal.signal(signal.SIGINT, signal.default_int_handler)
model = Encoder()
text = eval(sys.argv[1])
print("begun", flush=True)
try:
    while True:
        model.encode([text] * 3)
except KeyboardInterrupt:
    print(time.time(), flush=True)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="SIGINT of a subprocess")
@pytest.mark.measured
@pytest.mark.parametrize(
    "text", ["chr(0) * 60_000_000", "chr(0x436) * 20_000_000", "'a b ' * 20_000_000"]
)
def test_ctrl_c_within_a_long_text(text: str) -> None:
    command = [sys.executable, "-c", LONG_TEXT_SCRIPT, text]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        time.sleep(0.2)
        sent = time.time()
        process.send_signal(signal.SIGINT)
        answered = float(process.stdout.readline())
    assert answered - sent < 1  # a tenth of it, where nobody else wants the processor


@pytest.mark.parametrize("kernel", nibblevec.kernels())
@pytest.mark.parametrize("count", [PIECE_IDS + 3, 3 * PIECE_IDS + 77])
def test_long_texts_keep_their_end(encoder: Encoder, kernel: str, count: int) -> None:
    words = ["tea", "hot", "cup", "of", "the"]
    texts = ["cup", " ".join(words[i * i % 5] for i in range(count)), "tea of the cup"]
    for length in (1, 64, PIECE_IDS, PIECE_IDS + 3, count + 1):
        truncation = Truncation(length, keep_end=True)
        ends = [" ".join(text.split()[-length:]) for text in texts]
        expected = in_two_steps(encoder, ends, Truncation(), 34, True)
        actual, cut = fused(encoder, texts, truncation, 34, normalize=True, kernel=kernel)
        assert_same_bits(actual, expected)
        assert cut == sum(len(text.split()) > length for text in texts)


NO_THREAD_SCRIPT = """
import os, threading
from nibblevec import Encoder

model = Encoder()
seen, stop = [], threading.Event()

def watch():
    while not stop.is_set():
        seen.append(len(os.listdir("/proc/self/task")))

before = len(os.listdir("/proc/self/task"))
watcher = threading.Thread(target=watch)
watcher.start()
for _ in range(2000):
    model.encode("a cup of hot tea", threads=8)
stop.set()
watcher.join()
print(before + 1, max(seen))
"""


@linux_only
def test_one_text_starts_no_thread() -> None:
    # In a process of its own, where no library's threads come and go.
    command = [sys.executable, "-c", NO_THREAD_SCRIPT]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    with_the_watcher, most = done.stdout.split()
    assert most == with_the_watcher


@linux_only
@pytest.mark.measured
def test_memory_stays_flat(encoder: Encoder) -> None:
    import resource  # which Windows lacks

    texts = random_texts(300, 40)
    out = np.empty((len(texts), 34), np.float32)

    def resident() -> int:
        gc.collect()
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * resource.getpagesize()

    for _ in range(100):
        encoder.encode(texts, out=out)
    before = resident()
    for call in range(1000):
        encoder.encode(random_texts(300, 40, call) if call % 50 == 0 else texts, out=out)
    assert resident() - before < 4 << 20
