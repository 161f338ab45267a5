"""The end of the interpreter in the middle of calls, and interpreters besides the main one."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

TESTS = str(Path(__file__).parent)

# Every thread has made its call once, and makes it again and again, when the main one ends.
SCRIPT = """
import sys, threading
sys.path.insert(0, {tests!r})
import numpy as np
from nibblevec import Encoder, Table, semantic_search

model = Encoder()
texts = ["a cup of hot tea %d" % i for i in range({count})]
weights = np.random.default_rng(0).standard_normal((500, 256), dtype=np.float32)
{preparation}

def call():
    {call}

def call_for_ever(begun):
    while True:
        call()
        begun.set()
"""

THREADS = """
begun = [threading.Event() for _ in range(3)]
for event in begun:
    threading.Thread(target=call_for_ever, args=[event], daemon=True).start()
for event in begun:
    assert event.wait(60)
"""

POOL = """
from multiprocessing.pool import ThreadPool

begun = [threading.Event() for _ in range(3)]
pool = ThreadPool(3)  # of daemon threads
pool.map_async(call_for_ever, begun)
for event in begun:
    assert event.wait(60)
"""

# The interpreter waits for its threads.
EXECUTOR = """
from concurrent.futures import ThreadPoolExecutor

executor = ThreadPoolExecutor(3)
for _ in range(12):
    executor.submit(call)
"""

CALLS = {
    "one text": "model.encode('tea')",
    "texts": "model.encode(texts)",
    "texts, two threads": "model.encode(texts * 20, threads=2)",
    "precision": "model.encode(texts, precision='int8')",
    "iterator": "list(model.encode_iter(iter(texts), batch_size=7))",
    "tokenize": "model.tokenize(texts)",
    "sum_rows": "model.table.sum_rows(range(2000), range(0, 2001, 5))",
    "dequantize": "model.table.dequantize()",
    "quantize": "Table.quantize(weights)",
    "search": "semantic_search(weights[:7], weights)",
    "load": "Encoder()",
}


def run(script: str) -> None:
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-W", "ignore", "-c", script],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("call", CALLS.values(), ids=list(CALLS))
def test_interpreter_ends_within_calls_of_daemon_threads(call: str) -> None:
    run(SCRIPT.format(tests=TESTS, count=500, preparation="", call=call) + THREADS)


@pytest.mark.parametrize("workers", [POOL, EXECUTOR], ids=["pool", "executor"])
def test_interpreter_ends_within_calls_of_workers(workers: str) -> None:
    call = CALLS["texts"]
    run(SCRIPT.format(tests=TESTS, count=500, preparation="", call=call) + workers)


@pytest.mark.parametrize("kind", ["array", "stream"])
def test_interpreter_ends_within_a_producer_of_arrow(kind: str) -> None:
    # Whose functions are Python's: each takes the GIL, within ours.
    preparation = f"from arrow_by_hand import Producer, utf8\nstream = {kind == 'stream'}"
    call = "model.encode_arrow(Producer(*[utf8(texts)] * (9 if stream else 1), stream=stream))"
    run(SCRIPT.format(tests=TESTS, count=40, preparation=preparation, call=call) + THREADS)


SUB_INTERPRETER = """
import sys
{before}
try:
    import _interpreters as interpreters  # 3.13
except ImportError:
    import _xxsubinterpreters as interpreters
read, write = __import__("os").pipe()
interpreter = interpreters.create({config})
interpreters.run_string(interpreter, '''
import os, warnings
warnings.simplefilter("ignore")  # of NumPy
try:
    import {module}
except ImportError as error:
    os.write(%d, str(error).encode())
''' % write)
interpreters.destroy(interpreter)
__import__("os").close(write)
print(__import__("os").read(read, 1000).decode())
"""


@pytest.mark.skipif(
    not sysconfig.get_config_var("Py_GIL_DISABLED"), reason="needs a free-threaded Python"
)
def test_the_gil_stays_off() -> None:
    script = (
        "import sys, nibblevec; nibblevec.Encoder().encode('tea'); print(sys._is_gil_enabled())"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"


@pytest.mark.skipif(sys.platform == "win32", reason="hands a descriptor over by its number")
@pytest.mark.parametrize("module", ["nibblevec", "nibblevec._core"])
@pytest.mark.parametrize("before", ["", "import nibblevec"])
def test_sub_interpreter_gets_an_import_error(module: str, before: str) -> None:
    config = "'legacy'" if sys.version_info >= (3, 13) else "isolated=False"
    script = SUB_INTERPRETER.format(module=module, before=before, config=config)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=os.path.dirname(TESTS),
    )
    assert done.returncode == 0, done.stderr
    # With NumPy in the main interpreter, NumPy itself may refuse first.
    words = "main interpreter" if not before else ""
    assert done.stdout.strip()
    assert words in done.stdout
