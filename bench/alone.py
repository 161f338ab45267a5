"""This package alone: threads, dims, and whether time is linear. See README.md."""

from __future__ import annotations

import tempfile
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click
import numpy as np

from common import describe_environment, pin, publish, statistics
from encode import TOKENIZER_JSON, encoder_of, write_models
from kernel import Contestant, timed
from texts import LONG, SCRIPTS, SHORT, Generator

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from report import Figure

THREADS_TEXTS = {SHORT: 60_000, LONG: 8_000}
COUNTED_DIMS = 32  # of many texts: so that a million vectors are 128 MB
DISTINCT_TEXTS = 100_000
LENGTHS_REPEATS = 3
LEAST_BYTES = 1_000_000  # of texts in a call
TIMED_BYTES = 8_000_000  # in calls one after the other, at least
EMPTY_TEXTS = 1000


@click.command()
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write figures here.")
@click.option("--repeats", type=click.IntRange(1), default=7, show_default=True)
@click.option("--seconds", default=0.2, show_default=True, help="Least time of a turn.")
def threads(json_file: Path | None, repeats: int, seconds: float) -> None:
    """Two threads against one, and 128 dims against 512; `out` is reused."""
    figures: list[Figure] = []
    generator = Generator(TOKENIZER_JSON, 0)
    with tempfile.TemporaryDirectory() as name:
        write_models(Path(name))
        encoder = encoder_of(Path(name))
        table = encoder._model.table
        for length, count in THREADS_TEXTS.items():
            texts = generator.english(length)(count)
            outs = {dims: np.zeros((count, dims), np.float32) for dims in (512, 128)}
            ids, offsets = encoder.tokenize(texts)
            encode = partial(encoder.encode, texts, normalize_embeddings=True)
            for what, first, second in (
                (
                    "encode, 2 threads against 1",
                    partial(encode, threads=2, out=outs[512]),
                    partial(encode, threads=1, out=outs[512]),
                ),
                (
                    "encode, 128 dims against 512",
                    partial(encode, threads=1, truncate_dim=128, out=outs[128]),
                    partial(encode, threads=1, out=outs[512]),
                ),
                (
                    "Table.sum_rows, 128 dims against 512",
                    partial(table.sum_rows, ids, offsets, threads=1, dims=128, out=outs[128]),
                    partial(table.sum_rows, ids, offsets, threads=1, out=outs[512]),
                ),
                (
                    "Table.sum_rows, 2 threads against 1",
                    partial(table.sum_rows, ids, offsets, threads=2, out=outs[512]),
                    partial(table.sum_rows, ids, offsets, threads=1, out=outs[512]),
                ),
            ):
                pair = [Contestant(what, None, 0, run) for run in (first, second)]
                begin, cpu_begin = time.perf_counter(), time.process_time()
                one, other = timed(pair, repeats, seconds)
                used = (time.process_time() - cpu_begin) / (time.perf_counter() - begin)
                ratios = [a / b for a, b in zip(one, other, strict=True)]
                figures.append(
                    {
                        "what": "pair",
                        "pair": what,
                        "kind": length.name,
                        **statistics("times_as_fast", ratios),
                        # turns are equally long: with two threads in one of them, 1.5 CPUs
                        "cpu_share": used / (1.5 if "2 threads" in what else 1.0),
                        "texts_per_s": [float(np.median(rates)) * count for rates in (one, other)],
                    }
                )
    publish(figures, describe_environment(None, {}), json_file)


@click.command()
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write figures here.")
@click.option("--max-mb", default=100, show_default=True, help="Longest text.")
@click.option("--max-texts", default=1_000_000, show_default=True, help="Most texts in a call.")
@click.option("--core", type=int, help="CPU to run on [default: the last one allowed].")
def length(json_file: Path | None, max_mb: int, max_texts: int, core: int | None) -> None:
    """Time for a megabyte of text, by the length of texts; for a text, by their number."""
    core = pin(core)
    begin, cpu_begin = time.perf_counter(), time.process_time()
    generator = Generator(TOKENIZER_JSON, 0)
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory() as name:
        write_models(Path(name))
        encoder = encoder_of(Path(name), threads=1)
        calls_of: dict[str, Callable[[list[str]], object]] = {
            "tokenize": encoder.tokenize,
            "encode, 512 dims": encoder.encode,
            "encode, 32 dims": partial(encoder.encode, truncate_dim=COUNTED_DIMS),
        }
        for call, run in calls_of.items():
            empty = least_seconds(partial(run, [""] * EMPTY_TEXTS), calls=10)
            for pattern, unit in patterns(generator):
                size = 1000
                while size <= max_mb * 1_000_000:
                    texts = cut(unit, size)
                    text_bytes = sum(len(text.encode()) for text in texts)
                    calls = max(1, TIMED_BYTES // text_bytes)
                    seconds = least_seconds(partial(run, texts), calls)
                    figures.append(
                        {
                            "what": "length",
                            "call": call,
                            "us_per_empty_text": empty / EMPTY_TEXTS * 1e6,
                            "pattern": pattern,
                            "text_bytes": size,
                            "ms_per_mb": seconds * 1e3 / (text_bytes / 1e6),
                        }
                    )
                    size *= 10
        short = generator.english(SHORT)(min(DISTINCT_TEXTS, max_texts))
        few = encoder_of(Path(name), threads=1, truncate_dim=COUNTED_DIMS)
        count = 1000
        while count <= max_texts:
            texts = (short * -(-count // len(short)))[:count]
            seconds = least_seconds(partial(few.encode, texts), calls=max(1, 10_000 // count))
            figures.append(
                {
                    "what": "count",
                    "texts": count,
                    "dims": COUNTED_DIMS,
                    "us_per_text": seconds / count * 1e6,
                }
            )
            count *= 10
    share = (time.process_time() - cpu_begin) / (time.perf_counter() - begin)
    publish(figures, {**describe_environment(core, {}), "cpu_share": round(share, 3)}, json_file)


def patterns(generator: Generator) -> Iterator[tuple[str, str]]:
    """Names, and what is repeated to make a text as long as wanted."""
    prose = " ".join(generator.english(LONG)(1000))
    scripts = [generator.script(script, 90)(300) for script in SCRIPTS]
    yield "a...", "a"
    yield "aaaa ", "aaaa "
    yield "##", "##"
    yield "[[[[", "["
    yield "[[CLS", "[[CLS"
    yield "[CLS]", "[CLS]"
    yield "combining marks", "e" + "\u0301\u0323" * 20
    yield "one combining mark", "\u0301"
    yield "mixed scripts", " ".join(text for row in zip(*scripts, strict=True) for text in row)
    yield "prose", prose + " "
    yield "prose without spaces", "".join(filter(str.isalpha, prose))


def cut(unit: str, size: int) -> list[str]:
    """Texts of about this many bytes in UTF-8: the same at each run, cut where a text is full."""
    encoded = unit.encode()
    byte_count = max(size, LEAST_BYTES)
    whole = (encoded * -(-byte_count // len(encoded)))[:byte_count].decode(errors="ignore")
    characters = max(1, len(whole) * size // byte_count)
    return [whole[begin : begin + characters] for begin in range(0, len(whole), characters)]


def least_seconds(run: Callable[[], object], calls: int = 1) -> float:
    """CPU time of a call, in the best of a few series: what disturbs only adds."""
    found: list[float] = []
    for _ in range(LENGTHS_REPEATS):
        begin = time.process_time()
        for _ in range(calls):
            run()
        found.append((time.process_time() - begin) / calls)
    return min(found)
