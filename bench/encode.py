"""End to end, from a list of str to vectors, beside other packages. See README.md."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import click
import numpy as np
from numpy.typing import NDArray

from common import describe_environment, publish, require, statistics
from contestants import CONTESTANTS, DIM, IDS, MEAN_KNOWN, OURS_OUT, SSE, UNKNOWN_ID, Contestant
from nibblevec import Encoder, Table
from nibblevec._bundled import BUNDLED_MODEL
from report import OURS
from texts import LONG, SCRIPTS, SHORT, Generator, Length, cut

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from report import Figure
    from texts import TextSource

    FloatArray = NDArray[np.float32]

TOKENIZER_JSON = Path(BUNDLED_MODEL) / "tokenizer.json"
CHECKED_TEXTS = 256
LATENCY_TEXTS = 20_000
SCRIPT_CHARACTERS = 90  # as many as a short text has
ACCENTED_SHARE = 0.12
TEXTS_PER_CALL = {SHORT: 4096, LONG: 1024}

# One thread, and nothing fetched.
CHILD_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "RAYON_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "HF_HUB_OFFLINE": "1",
}


@dataclass(frozen=True)
class Kind:
    """Texts of one kind."""

    name: str
    source: TextSource
    texts_per_call: int
    names: frozenset[str] | None = None  # contestants; None means all


class Child:
    """A contestant in its process, pinned to one CPU; idle unless asked."""

    def __init__(self, contestant: Contestant, folder: Path, core: int, log: IO[bytes]) -> None:
        self.contestant = contestant
        self._log = log
        self._process = subprocess.Popen(
            [
                sys.executable,
                str(Path(__file__).with_name("contestants.py")),
                contestant.name, str(folder), str(core),
            ],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log,
            env={**os.environ, **CHILD_ENVIRONMENT},
        )  # fmt: skip
        self.started = self._answer()

    def ask(self, **request: Any) -> dict[str, Any]:
        """What it answers to a request."""
        if self._process.stdin is None:
            raise RuntimeError("no pipe")
        self._process.stdin.write(json.dumps(request).encode() + b"\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        if self._process.stdout is None:
            raise RuntimeError("no pipe")
        line = self._process.stdout.readline()
        if not line:
            self._log.seek(0)
            tail = self._log.read().decode(errors="replace")[-2000:]
            raise click.ClickException(f"{self.contestant.name} ended:\n{tail}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def close(self) -> None:
        """Let it end."""
        self._process.communicate()


@contextmanager
def running(contestant: Contestant, folder: Path, core: int) -> Iterator[Child]:
    """A contestant's process."""
    with tempfile.TemporaryFile() as log:
        child = Child(contestant, folder, core, log)
        try:
            yield child
        finally:
            child.close()


def shared_options(function: Any) -> Any:
    """Options of the commands that run contestants."""
    for option in (
        click.option("--json", "json_file", type=click.Path(path_type=Path), help="Figures."),
        click.option("--rivals", help="Comma-separated names [default: all that are installed]."),
        click.option("--core", type=int, help="CPU of all [default: the last one allowed]."),
    ):
        function = option(function)
    return function


def default_core(core: int | None) -> int:
    """The CPU that contestants run on; this process only waits meanwhile."""
    if not hasattr(os, "sched_getaffinity"):
        return 0
    return max(os.sched_getaffinity(0)) if core is None else core


def chosen(rivals: str | None) -> tuple[list[Contestant], dict[str, str | None]]:
    """Contestants that are installed, ours first; versions, None for what is not there."""
    names = {name.strip() for name in rivals.split(",")} if rivals is not None else None
    known = {contestant.name for contestant in CONTESTANTS}
    if names is not None and not names <= known:
        raise click.UsageError(f"no rival {', '.join(sorted(names - known))}: {', '.join(known)}")
    found: list[Contestant] = []
    versions: dict[str, str | None] = {}
    for contestant in CONTESTANTS:
        ours = contestant.modules == (OURS,)
        if names is not None and contestant.name not in names and not ours:
            continue
        installed = all(map(importlib.util.find_spec, contestant.modules))
        for package in contestant.packages if not ours else ():
            versions[package] = importlib.metadata.version(package) if installed else None
        if installed:
            found.append(contestant)
        else:
            click.echo(f"{contestant.name}: not installed", err=True)
    return found, versions


@click.command()
@click.option("--texts", type=click.Path(exists=True, path_type=Path), help="Cut texts from it.")
@click.option("--repeats", type=click.IntRange(1), default=7, show_default=True)
@click.option("--seconds", default=0.3, show_default=True, help="Aimed length of a turn.")
@click.option(
    "--clock",
    type=click.Choice(["wall", "cpu"]),
    default="wall",
    show_default=True,
    help="cpu leaves out the time that others had the CPU.",
)
@click.option("--other-scripts/--no-other-scripts", default=True, help="Texts beyond ASCII too.")
@shared_options
def encode(
    texts: Path | None,
    repeats: int,
    seconds: float,
    clock: str,
    other_scripts: bool,
    json_file: Path | None,
    rivals: str | None,
    core: int | None,
) -> None:
    """Lists of str to normalised vectors of 512 dims, one thread each, beside other packages."""
    contestants, versions = chosen(rivals)
    core = default_core(core)
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        write_models(folder)
        children = [stack.enter_context(running(one, folder, core)) for one in contestants]
        shares: list[float] = []
        for group in kinds(texts, other_scripts):
            jobs = [
                (child, kind)
                for kind in group
                for child in children
                if not kind.names or child.contestant.name in kind.names
            ]
            for kind in group:
                click.echo(f"{kind.name} ...", err=True)
            checks = [compared(child, kind, folder) for child, kind in jobs]
            measured, share = encode_figures(jobs, folder, repeats, seconds, clock)
            shares.append(share)
            figures += [{**figure, **checks[place // 2]} for place, figure in enumerate(measured)]
    environment = {**describe_environment(core, versions), "cpu_share": round(min(shares), 3)}
    environment["clock"] = clock
    environment["texts"] = "generated" if texts is None else "cut from a file"
    publish(figures, environment, json_file)


def kinds(file: Path | None, other_scripts: bool) -> Iterator[tuple[Kind, ...]]:
    """All kinds of texts; those that are compared with each other together."""
    generator = Generator(TOKENIZER_JSON, 0)
    lengths: tuple[Length, ...] = (SHORT, LONG)
    for length in lengths:
        source = generator.english(length) if file is None else cut(file, length, 0)
        yield (Kind(length.name, source, TEXTS_PER_CALL[length]),)
    if not other_scripts:
        return
    names = frozenset({OURS, "tokenizers"})
    for length in lengths:
        plain = Length(length.name, length.least_words, length.most_words, foreign_share=0)
        yield tuple(
            Kind(f"{name}, {length.name}", source, TEXTS_PER_CALL[length], names)
            for name, source in (
                ("ASCII", generator.english(plain)),
                ("accents", generator.english(plain, accents=ACCENTED_SHARE)),
            )
        )
    for script in SCRIPTS:
        source = generator.script(script, SCRIPT_CHARACTERS)
        yield (Kind(script, source, TEXTS_PER_CALL[SHORT], names),)


def encode_figures(
    jobs: Sequence[tuple[Child, Kind]], folder: Path, repeats: int, seconds: float, clock: str
) -> tuple[list[Figure], float]:
    """Texts a second of each job in each round, cold then warm; the least share of the CPU.

    All of a round get texts that nobody had before, a slow one fewer of them.
    """
    counts = [
        calls_of_turn(child, kind, folder, seconds) * kind.texts_per_call for child, kind in jobs
    ]
    most: dict[Kind, int] = {}
    for (_, kind), count in zip(jobs, counts, strict=True):
        most[kind] = max(count, most.get(kind, 0))
    answers: list[list[dict[str, Any]]] = [[] for _ in jobs]
    for turn in range(repeats):
        for kind, count in most.items():
            given = kind.source(count)
            if len(given) < kind.texts_per_call:
                raise click.UsageError(
                    f"too few {kind.name} texts in the file for {repeats} rounds"
                )
            write_texts(folder / kind.name, given)
        for place in np.roll(np.arange(len(jobs)), turn).tolist():
            child, kind = jobs[place]
            answers[place].append(
                child.ask(
                    do="encode", texts=str(folder / kind.name),
                    count=counts[place], texts_per_call=kind.texts_per_call,
                )
            )  # fmt: skip
    for kind in most:
        (folder / kind.name).unlink()
    figures: list[Figure] = []
    for (child, kind), series in zip(jobs, answers, strict=True):
        for state in ("cold", "warm"):
            rates = [one["texts"] / one[state][clock] for one in series]
            figures.append(
                {
                    "what": "encode",
                    "contestant": child.contestant.name,
                    "kind": kind.name,
                    "state": state,
                    "output": child.contestant.output,
                    "lacks": child.contestant.lacks,
                    **statistics("texts_per_s", rates),
                    "least_seconds": min(one[state][clock] for one in series),
                    "texts_per_call": kind.texts_per_call,
                    **child.started,
                    "peak_mib": series[-1]["peak_mib"],
                }
            )
    share = min(
        one[state]["cpu"] / one[state]["wall"]
        for series in answers
        for one in series
        for state in ("cold", "warm")
    )
    return figures, share


def calls_of_turn(child: Child, kind: Kind, folder: Path, seconds: float) -> int:
    """How many calls take so long, by the second of two on texts that are not used again."""
    step = kind.texts_per_call
    answer: dict[str, Any] = {}
    for _ in range(2):
        write_texts(folder / "texts", kind.source(step))
        answer = child.ask(
            do="encode", texts=str(folder / "texts"), count=step, texts_per_call=step
        )
    calls_per_second = float(answer["texts"] / answer["cold"]["cpu"] / step)
    return math.ceil(seconds * calls_per_second)


def compared(child: Child, kind: Kind, folder: Path) -> dict[str, float | None]:
    """How far an output is from one computed in float64 by NumPy, and what the texts are like."""
    from tokenizers import Tokenizer

    texts = kind.source(CHECKED_TEXTS)
    write_texts(folder / "texts", texts)
    tokenizer = Tokenizer.from_file(str(folder / "sse" / "tokenizer.json"))
    ids = [each.ids for each in tokenizer.encode_batch(texts, add_special_tokens=False)]
    found: dict[str, float | None] = {
        "tokens_per_text": sum(map(len, ids)) / len(ids),
        "characters_per_text": sum(map(len, texts)) / len(texts),
        "not_ascii_share": sum(not text.isascii() for text in texts) / len(texts),
    }
    saved = folder / "output.npz"
    child.ask(
        do="encode", texts=str(folder / "texts"),
        count=len(texts), texts_per_call=len(texts), save=str(saved),
    )  # fmt: skip
    contestant = child.contestant
    with np.load(saved) as arrays:
        if contestant.output == IDS:
            same = np.array_equal(arrays["ids"], np.concatenate(ids)) and np.array_equal(
                arrays["counts"], [len(row) for row in ids]
            )
            require(same, f"{contestant.name} gives other ids")
            return {**found, "least_cosine": None, "difference": None}
        vectors = arrays["vectors"]
    table, head = np.load(folder / "table.npy"), np.load(folder / "head.npy")
    expected = oracle(ids, table, head, contestant.output)
    lengths = np.linalg.norm(vectors, axis=1) * np.linalg.norm(expected, axis=1)
    cosines = np.einsum("ij,ij->i", vectors, expected)[lengths > 0] / lengths[lengths > 0]
    difference = float(np.abs(vectors - expected).max())
    if contestant.modules == (OURS,):
        require(difference < 1e-6, f"{contestant.name} differs by {difference}")
    return {**found, "least_cosine": float(cosines.min()), "difference": difference}


def oracle(
    ids: list[list[int]], table: FloatArray, head: FloatArray, output: str
) -> NDArray[np.float64]:
    """Vectors as they must be."""
    vectors = np.zeros((len(ids), DIM))
    for vector, row in zip(vectors, ids, strict=True):
        kept = [number for number in row if output != MEAN_KNOWN or number != UNKNOWN_ID]
        if kept:
            vector[:] = table[kept].mean(axis=0, dtype=np.float64)
    if output == SSE:
        alpha, beta, bias = head.astype(np.float64)
        vectors = beta * np.tanh(alpha * vectors + bias)
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True).clip(1e-30))


def write_texts(path: Path, texts: Sequence[str]) -> None:
    """One text a line."""
    path.write_text("".join(text + "\n" for text in texts), "utf-8", newline="\n")


def write_models(folder: Path) -> None:
    """The same random table and head in the layout of each contestant."""
    rng = np.random.default_rng(0)
    rows = len(json.loads(TOKENIZER_JSON.read_text("utf-8"))["model"]["vocab"])
    packed = Table.quantize(rng.standard_normal((rows, DIM), np.float32))
    table = packed.dequantize()
    head = np.stack(
        [rng.uniform(low, high, DIM) for low, high in ((1, 4), (0.5, 1.5), (-0.1, 0.1))]
    )
    head = head.astype(np.float32)
    np.save(folder / "table.npy", table)
    np.save(folder / "head.npy", head)
    for name in ("sse", "model2vec", "statembed"):
        (folder / name).mkdir()
        shutil.copy(TOKENIZER_JSON, folder / name / "tokenizer.json")
    (folder / "sse" / "embedding.q4_k_m.bin").write_bytes(packed.buffer.tobytes())
    tensors = dict(zip(("dyt.alpha", "dyt.beta", "dyt.bias"), head, strict=True))
    write_safetensors(folder / "sse" / "model_rest.safetensors", tensors)
    write_safetensors(folder / "model2vec" / "model.safetensors", {"embeddings": table})
    (folder / "model2vec" / "config.json").write_text('{"normalize": true}')
    write_safetensors(folder / "statembed" / "model.safetensors", {"embeddings": table})


def write_safetensors(path: Path, tensors: dict[str, FloatArray]) -> None:
    """A safetensors file of float32."""
    header: dict[str, Any] = {}
    end = 0
    for name, tensor in tensors.items():
        begin, end = end, end + tensor.nbytes
        header[name] = {"dtype": "F32", "shape": tensor.shape, "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    content = b"".join(tensor.tobytes() for tensor in tensors.values())
    path.write_bytes(len(text).to_bytes(8, "little") + text + content)


@click.command()
@click.option("--repeats", type=click.IntRange(1), default=5, show_default=True)
@shared_options
def startup(repeats: int, json_file: Path | None, rivals: str | None, core: int | None) -> None:
    """Import, load and first vector of a new process, beyond `import numpy`; memory then."""
    contestants, versions = chosen(rivals)
    core = default_core(core)
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_models(folder)
        starts: list[list[dict[str, Any]]] = [[] for _ in contestants]
        for turn in range(repeats + 1):
            for series, contestant in zip(starts, contestants, strict=True):
                with running(contestant, folder, core) as child:
                    if turn:  # in the first one files come from the disk
                        series.append(child.started)
        for series, contestant in zip(starts, contestants, strict=True):
            steps = ("numpy", "import", "load", "first")
            figures.append(
                {
                    "what": "startup",
                    "contestant": contestant.name,
                    **{
                        f"{step}_ms": float(np.median([one[f"{step}_seconds"] for one in series]))
                        * 1e3
                        for step in steps
                    },
                    "cpu_ms": float(np.median([one["start_cpu_seconds"] for one in series])) * 1e3,
                    **statistics("ms", [one["start_seconds"] * 1e3 for one in series]),
                    "mib": max(one["start_mib"] or 0 for one in series) or None,
                    "numpy_mib": max(one["numpy_mib"] or 0 for one in series) or None,
                }
            )
    publish(figures, {**describe_environment(core, versions), "load": load()}, json_file)


@click.command()
@click.option("--calls", type=click.IntRange(1000), default=LATENCY_TEXTS, show_default=True)
@shared_options
def latency(calls: int, json_file: Path | None, rivals: str | None, core: int | None) -> None:
    """One short text a call, each a new one."""
    contestants, versions = chosen(rivals)
    core = default_core(core)
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_models(folder)
        write_texts(folder / "texts", Generator(TOKENIZER_JSON, 0).english(SHORT)(calls))
        for contestant in contestants:
            if contestant.name == OURS_OUT:
                continue
            with running(contestant, folder, core) as child:
                answer = child.ask(do="latency", texts=str(folder / "texts"))
            figures.append({"what": "latency", "contestant": contestant.name, **answer})
    publish(figures, {**describe_environment(core, versions), "load": load()}, json_file)


def load() -> float | None:
    """How many processes wanted a CPU in the last minute: with more than CPUs, times are long."""
    return round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None


def encoder_of(folder: Path, **options: Any) -> Encoder:
    """This package over the random table."""
    return Encoder(folder / "sse", **options)
