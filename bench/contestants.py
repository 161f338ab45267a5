"""What turns a list of str into vectors (or ids), each run in a process of its own.

Started by `encode.py` as ``python contestants.py NAME FOLDER CORE``: it loads the contestant, tells
how long that took, then answers a request (a line of JSON) at a time. Until a contestant is loaded
nothing is imported but NumPy and what it needs itself.
"""

# mypy: disable-error-code="import-not-found,import-untyped"

from __future__ import annotations

import os
import sys
import time

if __name__ == "__main__" and hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, {int(sys.argv[3])})
process_begin = time.perf_counter()
import numpy as np  # noqa: E402

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from numpy.typing import NDArray

    FloatArray = NDArray[np.float32]
    Encode = Callable[[list[str]], Any]

numpy_seconds = time.perf_counter() - process_begin

OURS_OUT = "nibblevec, out="
DIM = 512
UNKNOWN_ID = 100

# What is equal in all: the oracle that an output is compared with.
SSE, MEAN, MEAN_KNOWN, IDS = "SSE", "mean", "mean without [UNK]", "ids"

# Texts in a block: sentence-transformers' default; for the two that leave it to the caller, what is
# best for them (of 32 to 4,096 measured).
BATCH, RUNNER_BATCH, HAND_BATCH = 32, 64, 512


class Contestant:
    """A way to do the work.

    Attributes:
        name: in tables and options.
        modules: to import, all of them installed or the contestant is left out.
        packages: whose versions are noted.
        output: what it gives.
        lacks: what it does not do that this package does.
    """

    def __init__(
        self,
        name: str,
        load: Callable[[str], Encode],
        *,
        modules: tuple[str, ...],
        packages: tuple[str, ...],
        output: str,
        lacks: str,
    ) -> None:
        self.name = name
        self.load = load
        self.modules = modules
        self.packages = packages
        self.output = output
        self.lacks = lacks


def load_nibblevec(folder: str) -> Encode:
    from nibblevec import Encoder

    encoder = Encoder(folder + "/sse", threads=1)
    return lambda texts: encoder.encode(texts, normalize_embeddings=True)


def load_nibblevec_out(folder: str) -> Encode:
    from nibblevec import Encoder

    encoder = Encoder(folder + "/sse", threads=1)
    outs: dict[int, FloatArray] = {}

    def encode(texts: list[str]) -> FloatArray:
        if len(texts) not in outs:
            outs[len(texts)] = np.zeros((len(texts), DIM), np.float32)
        return encoder.encode(texts, normalize_embeddings=True, out=outs[len(texts)])

    return encode


def load_sentence_transformers(folder: str) -> Encode:
    import tokenizers
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.models import Normalize, StaticEmbedding

    torch.set_num_threads(1)
    tokenizer = tokenizers.Tokenizer.from_file(folder + "/sse/tokenizer.json")
    table = StaticEmbedding(tokenizer, embedding_weights=np.load(folder + "/table.npy"))
    model = SentenceTransformer(modules=[table, Normalize()], device="cpu")
    return lambda texts: model.encode(texts, batch_size=BATCH, show_progress_bar=False)


def load_sse_torch(folder: str) -> Encode:
    import tokenizers
    import torch

    tokenizer = tokenizers.Tokenizer.from_file(folder + "/sse/tokenizer.json")
    bag_head = torch_bag_head(folder)

    def encode(texts: list[str]) -> FloatArray:
        parts = []
        for begin in range(0, len(texts), BATCH):
            batch = texts[begin : begin + BATCH]
            encodings = tokenizer.encode_batch(batch, add_special_tokens=False)
            ids = [encoding.ids for encoding in encodings]
            offsets = torch.from_numpy(np.cumsum([0] + [len(row) for row in ids[:-1]]))
            flat = torch.tensor([token for row in ids for token in row], dtype=torch.long)
            parts.append(bag_head(flat, offsets, last_offset=False).numpy())
        return np.concatenate(parts)

    return encode


def load_by_hand(folder: str) -> Encode:
    import torch

    tokenize = load_nanotoken(folder)
    bag_head = torch_bag_head(folder)

    def encode(texts: list[str]) -> FloatArray:
        out = np.empty((len(texts), DIM), np.float32)
        for begin in range(0, len(texts), HAND_BATCH):
            end = begin + HAND_BATCH
            ids, offsets = tokenize(texts[begin:end])
            vectors = bag_head(
                torch.from_numpy(ids.view(np.int32)).long(), torch.from_numpy(offsets)
            )
            out[begin:end] = vectors.numpy()
        return out

    return encode


def torch_bag_head(folder: str) -> Callable[..., Any]:
    """Mean of float32 rows, Dynamic Tanh, L2, by torch."""
    import torch

    torch.set_num_threads(1)
    weights = torch.from_numpy(dequantized(folder))
    alpha, beta, bias = (torch.from_numpy(row.copy()) for row in np.load(folder + "/head.npy"))

    def bag_head(ids: Any, offsets: Any, last_offset: bool = True) -> Any:
        with torch.inference_mode():
            rows = torch.nn.functional.embedding_bag(
                ids, weights, offsets, mode="mean", include_last_offset=last_offset
            )
            rows = rows.mul_(alpha).add_(bias).tanh_().mul_(beta)
            return torch.nn.functional.normalize(rows)

    return bag_head


def dequantized(folder: str) -> FloatArray:
    """The 4-bit table in float32, as the published loader expands it."""
    data = np.fromfile(folder + "/sse/embedding.q4_k_m.bin", np.uint8)
    rows = data.size // (DIM // 2 + 4)
    codes = data[: rows * DIM // 2].reshape(rows, -1)
    scales = data[rows * DIM // 2 :].view(np.float32)
    levels = np.stack([codes >> 4, codes & 15], axis=-1).reshape(rows, DIM).astype(np.float32)
    return (levels / np.float32(7.5) - 1) * scales[:, None]


def load_model2vec(folder: str) -> Encode:
    from model2vec import StaticModel

    model = StaticModel.from_pretrained(folder + "/model2vec", normalize=True)
    return lambda texts: model.encode(texts, use_multiprocessing=False)


def load_static_embed_runner(folder: str) -> Encode:
    from static_embed_runner import StaticEmbedRunner

    runner = StaticEmbedRunner.load(folder + "/sse")

    def encode(texts: list[str]) -> FloatArray:
        begins = range(0, len(texts), RUNNER_BATCH)
        parts = [runner.encode(texts[begin : begin + RUNNER_BATCH]) for begin in begins]
        return np.concatenate(parts)

    return encode


def load_laghu(folder: str) -> Encode:
    from laghu import load

    model = load(folder + "/model2vec", normalize=True, fallback=False)
    encode: Encode = model.encode
    return encode


def load_statembed(folder: str) -> Encode:
    from statembed_py import StaticEmbedding

    model = StaticEmbedding(folder + "/statembed")
    return lambda texts: np.array(model.embed_texts(texts), np.float32)


def load_tokenizers(folder: str) -> Encode:
    import tokenizers

    tokenizer = tokenizers.Tokenizer.from_file(folder + "/sse/tokenizer.json")
    return lambda texts: tokenizer.encode_batch_fast(texts, add_special_tokens=False)


def load_nanotoken(folder: str) -> Encode:
    import nanotoken

    with open(folder + "/sse/tokenizer.json", encoding="utf-8") as file:
        tokenizer = nanotoken.WordPieceTokenizer.from_json(file.read())
    return lambda texts: tokenizer.encode_batch(texts, add_special_tokens=False, parallel=False)


EXPANDS = "table expanded to float32"
NO_HEAD = f"{EXPANDS}, no Dynamic Tanh"
NO_VECTORS = "ids only, no vectors"
CONTESTANTS = (
    Contestant(
        "nibblevec", load_nibblevec,
        modules=("nibblevec",), packages=("nibblevec",), output=SSE, lacks="",
    ),
    Contestant(
        OURS_OUT, load_nibblevec_out,
        modules=("nibblevec",), packages=("nibblevec",), output=SSE, lacks="",
    ),
    Contestant(
        "sentence-transformers", load_sentence_transformers,
        modules=("sentence_transformers",), packages=("sentence-transformers", "torch"),
        output=MEAN, lacks=NO_HEAD,
    ),
    Contestant(
        "SSE torch", load_sse_torch,
        modules=("torch", "tokenizers"), packages=("torch", "tokenizers"),
        output=SSE, lacks=EXPANDS,
    ),
    Contestant(
        "model2vec", load_model2vec,
        modules=("model2vec",), packages=("model2vec",),
        output=MEAN_KNOWN, lacks=f"{NO_HEAD}, drops [UNK], cuts at 512 tokens",
    ),
    Contestant(
        "static-embed-runner", load_static_embed_runner,
        modules=("static_embed_runner",), packages=("static-embed-runner",),
        output=SSE, lacks="",
    ),
    Contestant(
        "laghu", load_laghu,
        modules=("laghu", "laghu_rs"), packages=("laghu", "laghu-rs"),
        output=MEAN_KNOWN, lacks=f"{NO_HEAD}, drops [UNK], cuts at 512 tokens",
    ),
    Contestant(
        "statembed-py", load_statembed,
        modules=("statembed_py",), packages=("statembed-py",),
        output=MEAN_KNOWN,
        lacks=f"{NO_HEAD}, drops [UNK], cuts at 512 tokens, gives lists of float",
    ),
    Contestant(
        "nanotoken + torch", load_by_hand,
        modules=("nanotoken", "torch"), packages=("nanotoken", "torch"),
        output=SSE, lacks=f"{EXPANDS}, is no package: assembled by hand",
    ),
    Contestant(
        "tokenizers", load_tokenizers,
        modules=("tokenizers",), packages=("tokenizers",), output=IDS, lacks=NO_VECTORS,
    ),
    Contestant(
        "nanotoken", load_nanotoken,
        modules=("nanotoken",), packages=("nanotoken",), output=IDS, lacks=NO_VECTORS,
    ),
)  # fmt: skip


def memory_mib(field: str) -> float | None:
    """``VmRSS``, or ``VmHWM`` for the highest that it was; None where the system has no /proc."""
    try:
        with open("/proc/self/status", encoding="ascii") as file:
            return next(int(line.split()[1]) / 1024 for line in file if line.startswith(field))
    except OSError:
        return None


def start(name: str, folder: str) -> tuple[Contestant, Encode, dict[str, Any]]:
    """Load a contestant and encode one text, with the time of each step."""
    contestant = next(known for known in CONTESTANTS if known.name == name)
    numpy_mib = memory_mib("VmRSS")
    cpu_begin, begin = time.process_time(), time.perf_counter()
    for module in contestant.modules:
        __import__(module)
    imported = time.perf_counter()
    encode = contestant.load(folder)
    loaded = time.perf_counter()
    encode(["Tea is a hot drink."])
    done = time.perf_counter()
    return (
        contestant,
        encode,
        {
            "numpy_seconds": numpy_seconds,
            "numpy_mib": numpy_mib,
            "import_seconds": imported - begin,
            "load_seconds": loaded - imported,
            "first_seconds": done - loaded,
            "start_seconds": done - begin,
            "start_cpu_seconds": time.process_time() - cpu_begin,
            "start_mib": memory_mib("VmRSS"),
        },
    )


def encode_texts(contestant: Contestant, encode: Encode, request: dict[str, Any]) -> dict[str, Any]:
    """Encode N lines of a file, when they were never seen, and again."""
    import gc
    from itertools import islice

    with open(request["texts"], encoding="utf-8", newline="\n") as file:
        texts = [line.rstrip("\n") for line in islice(file, request["count"])]
    step = request["texts_per_call"]
    calls = [texts[begin : begin + step] for begin in range(0, len(texts), step)]
    if request.get("save"):
        save(contestant, encode(texts), request["save"])
        return {}
    reply: dict[str, Any] = {"texts": len(texts)}
    for state in ("cold", "warm"):
        gc.collect()
        cpu_begin, begin = time.process_time(), time.perf_counter()
        for call in calls:
            encode(call)
        reply[state] = {
            "wall": time.perf_counter() - begin,
            "cpu": time.process_time() - cpu_begin,
        }
    return {**reply, "peak_mib": memory_mib("VmHWM")}


def save(contestant: Contestant, output: Any, path: str) -> None:
    """Write vectors, or the ids of all texts end to end and the number in each."""
    if contestant.output != IDS:
        np.savez(path, vectors=np.asarray(output, np.float32))
        return
    if contestant.name == "tokenizers":
        rows = [encoding.ids for encoding in output]
        np.savez(path, ids=np.concatenate(rows), counts=[len(row) for row in rows])
    else:
        np.savez(path, ids=output[0], counts=np.diff(output[1]))


def encode_one_by_one(
    contestant: Contestant, encode: Encode, request: dict[str, Any]
) -> dict[str, Any]:
    """Time of each of many calls with one text; and how many tasks the system began meanwhile."""
    import threading

    def newest_task() -> int:
        thread = threading.Thread(target=int)
        thread.start()
        thread.join()
        return thread.native_id or 0

    with open(request["texts"], encoding="utf-8", newline="\n") as file:
        texts = [line.rstrip("\n") for line in file]
    takes_str = contestant.name == "nibblevec"
    calls: list[Any] = texts if takes_str else [[text] for text in texts]
    for call in calls[:100]:
        encode(call)
    before = newest_task()
    seconds = np.empty(len(calls))
    clock = time.perf_counter
    for place, call in enumerate(calls):
        begin = clock()
        encode(call)
        seconds[place] = clock() - begin
    tasks = newest_task() - before - 1
    return {
        "calls": len(calls),
        "median_us": float(np.median(seconds)) * 1e6,
        "p99_us": float(np.quantile(seconds, 0.99)) * 1e6,
        "tasks_begun": tasks,
    }


def serve() -> None:
    """Answer requests until there are no more."""
    # What a package prints must not get among the answers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    contestant, encode, started = start(*sys.argv[1:3])
    import json

    answers.write(json.dumps(started) + "\n")
    answers.flush()
    for line in sys.stdin:
        request = json.loads(line)
        answer = {"encode": encode_texts, "latency": encode_one_by_one}[request["do"]]
        answers.write(json.dumps(answer(contestant, encode, request)) + "\n")
        answers.flush()


if __name__ == "__main__":
    serve()
