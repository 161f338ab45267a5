"""Sums of rows and the head, for every instruction set, given ids. See README.md."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, TypeVar

import click
import numpy as np
from numpy.typing import NDArray

import nibblevec
from common import describe_environment, pin, publish, require, same_bits, statistics
from nibblevec import Encoder, Table, _core

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from nibblevec._table import RowFormat
    from report import Figure

    Bags = tuple[NDArray[np.uint32], NDArray[np.int64]]
    # Contestants to passes a second, for each contestant and round.
    Clock = Callable[[Sequence["Contestant"]], list[list[float]]]

Scalar = TypeVar("Scalar", bound=np.generic)

ROWS, DIM = 30_522, 512
BAG_LENGTHS = (20, 255)
SUMMED_DIMS = (512, 128)
TOKENS = 250_000  # in one pass
CALL_TOKENS = 10_240  # in one call: its output stays in the second-level cache
# Bytes that are read of a row for N dims. Beside its codes a superblock of q4_k has 16 bytes,
# one of q6_k 18.
ROW_BYTES: dict[str, Callable[[int], int]] = {
    "sse_q4": lambda dims: dims // 2 + 4,
    "float32": lambda dims: dims * 4,
    "q4_k": lambda dims: dims // 2 + 16 * -(-dims // 256),
    "q6_k": lambda dims: dims * 3 // 4 + 18 * -(-dims // 256),
}
HEAD_ROWS = 128  # in one call: 256 KiB, twice


@dataclass(frozen=True)
class Contestant:
    """Something that does a fixed piece of work."""

    name: str
    kernel: str | None  # None: another package's
    row_bytes: int
    run: Callable[[], object]


@click.command()
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write figures here.")
@click.option("--texts", type=click.Path(exists=True, path_type=Path), help="Text for natural ids.")
@click.option("--repeats", type=click.IntRange(1), default=7, show_default=True)
@click.option("--seconds", default=0.2, show_default=True, help="Least time of a repeat.")
@click.option("--core", type=int, help="CPU to run on [default: the last one allowed].")
def kernel(
    json_file: Path | None, texts: Path | None, repeats: int, seconds: float, core: int | None
) -> None:
    """Sums of rows and the head, for every instruction set, given ids."""
    core = pin(core)
    rng = np.random.default_rng(0)
    rivals, versions = installed_rivals()
    environment = describe_environment(core, versions)
    natural_name, natural = natural_ids(texts, rng)
    kinds = {
        natural_name: natural,
        "uniform": rng.integers(0, ROWS, TOKENS, dtype=np.uint32),
        "one hot row": np.full(TOKENS, ROWS // 2, np.uint32),
    }
    clock = partial(timed, repeats=repeats, seconds=seconds)
    begin, cpu_begin = time.perf_counter(), time.process_time()
    measured = [
        *sum_figures(kinds, rivals, rng, clock),
        *head_figures(natural_name, natural, rng, clock),
    ]
    share = (time.process_time() - cpu_begin) / (time.perf_counter() - begin)
    environment["cpu_share"] = round(share, 3)
    publish(measured, environment, json_file)
    if not rivals:
        click.echo("\ntorch is not installed: no rival was measured, and no output compared to it")


def installed_rivals() -> tuple[list[Any], dict[str, str | None]]:
    """Classes of `rivals`, none if torch is absent, and versions."""
    try:
        import rivals
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        return [], {"torch": None}
    return [rivals.TorchFloatBag, rivals.TorchFourBitBag], dict(rivals.VERSIONS)


def natural_ids(texts: Path | None, rng: np.random.Generator) -> tuple[str, NDArray[np.uint32]]:
    """Ids of one pass as frequent as in natural text, and before them what to call them."""
    if texts is None:
        frequencies = 1.0 / np.arange(1, ROWS + 1)
        ranks = rng.choice(ROWS, TOKENS, p=frequencies / frequencies.sum())
        return "Zipf", rng.permutation(ROWS)[ranks].astype(np.uint32)
    lines = texts.read_text(encoding="utf-8").splitlines()
    encoder = Encoder()
    parts: list[NDArray[np.uint32]] = []
    for begin in range(0, len(lines), 1000):
        parts.append(encoder.tokenize(lines[begin : begin + 1000])[0])
        if sum(map(len, parts)) >= TOKENS:
            break
    ids = np.concatenate(parts) if parts else np.zeros(0, np.uint32)
    if len(ids) < CALL_TOKENS:
        raise click.UsageError(f"{texts} holds {len(ids)} tokens, expected {CALL_TOKENS} or more")
    return "natural", ids[:TOKENS]


def calls(ids: NDArray[np.uint32], bag_length: int) -> list[Bags]:
    """``ids`` cut into calls of equal bags; what is left over at the end is dropped."""
    bags = CALL_TOKENS // bag_length
    offsets = np.arange(bags + 1, dtype=np.int64) * bag_length
    step = bags * bag_length
    return [
        (ids[begin : begin + step].copy(), offsets) for begin in range(0, len(ids) - step + 1, step)
    ]


def sum_figures(
    kinds: dict[str, NDArray[np.uint32]],
    rivals: Sequence[Any],
    rng: np.random.Generator,
    clock: Clock,
) -> Iterator[Figure]:
    """Sums of rows over a random table, first compared, then timed."""
    original = rng.uniform(-1, 1, (ROWS, DIM)).astype(np.float32)
    codes = aligned(Table.quantize(original).buffer)
    packed = Table.from_buffer(codes.data, dim=DIM)
    expanded = aligned(packed.dequantize())
    tables = {
        "sse_q4": packed,
        "float32": Table.from_buffer(expanded.data, dim=DIM, format="float32"),
        "q4_k": random_superblocks("q4_k", 144, (0, 2), rng),
        "q6_k": random_superblocks("q6_k", 210, (208,), rng),
    }
    plain = {"sse_q4": tables["float32"], "float32": tables["float32"]} | {
        name: Table.from_buffer(tables[name].dequantize(), dim=DIM, format="float32")
        for name in ("q4_k", "q6_k")
    }
    # A rival with a format of its own quantises the original weights, see `check_sums`.
    built = [rival(original if rival.name == "torch 4-bit" else expanded) for rival in rivals]
    for kind, ids in kinds.items():
        for bag_length in BAG_LENGTHS:
            batches = calls(ids, bag_length)
            for dims in SUMMED_DIMS:
                of_case = built if dims == DIM else []  # torch sums whole rows only
                check_sums(tables, plain, of_case, batches, dims, original)
                contestants = [*summers(tables, batches, dims), *rival_summers(of_case, batches)]
                tokens = sum(len(call_ids) for call_ids, _ in batches)
                series = clock(contestants)
                for contestant, passes_per_second in zip(contestants, series, strict=True):
                    rounds = [passes * tokens / 1e6 for passes in passes_per_second]
                    yield {
                        "what": "sum",
                        "contestant": contestant.name,
                        "kernel": contestant.kernel,
                        "ids": kind,
                        "dims": dims,
                        "bag_length": bag_length,
                        "row_bytes": contestant.row_bytes,
                        **statistics("mtok_per_s", rounds),
                        "gb_per_s": median(rounds) * contestant.row_bytes / 1e3,
                    }


def random_superblocks(
    row_format: RowFormat, block_bytes: int, places: Sequence[int], rng: np.random.Generator
) -> Table:
    """A table of random bytes, but for the float16 numbers at ``places``: sums stay finite."""
    blocks = rng.integers(0, 256, (ROWS * DIM // 256, block_bytes), dtype=np.uint8)
    for place in places:
        halves = rng.uniform(-1e-3, 1e-3, (len(blocks), 1)).astype("<f2")
        blocks[:, place : place + 2] = halves.view(np.uint8)
    return Table.from_buffer(aligned(blocks).data, dim=DIM, format=row_format)


def summers(tables: dict[str, Table], batches: list[Bags], dims: int) -> Iterator[Contestant]:
    """This package's kernels over each table, `out` reused."""
    out = aligned(np.empty((len(batches[0][1]) - 1, dims), np.float32))

    def one_pass(table: _core.Table, name: str) -> None:
        for ids, offsets in batches:
            _core.pool(table, ids, offsets, out, kernel=name)

    for row_format, table in tables.items():
        row_bytes = ROW_BYTES[row_format](dims)
        for name in nibblevec.kernels():
            yield Contestant(row_format, name, row_bytes, partial(one_pass, table.native, name))


def rival_summers(rivals: Sequence[Any], batches: list[Bags]) -> Iterator[Contestant]:
    """Other packages' bags."""

    def one_pass(rival: Any, arguments: list[Any]) -> None:
        for ids, offsets in arguments:
            rival.sum(ids, offsets)

    for rival in rivals:
        prepared = [rival.prepare(*batch) for batch in batches]
        yield Contestant(rival.name, None, rival.row_bytes, partial(one_pass, rival, prepared))


def check_sums(
    tables: dict[str, Table],
    plain: dict[str, Table],
    rivals: Sequence[Any],
    batches: list[Bags],
    dims: int,
    original: NDArray[np.float32],
) -> None:
    """Every sum equals that of the same weights as float32; torch's 4-bit one points the same way.

    Args:
        tables: by row format.
        plain: the same, each expanded to float32.
        rivals: classes of `rivals`, built.
        batches: ids and offsets.
        dims: how many to sum.
        original: the weights before they were packed.
    """
    for ids, offsets in batches:
        sums = np.empty((len(offsets) - 1, dims), np.float32)
        expected = np.empty_like(sums)
        for row_format, table in tables.items():
            _core.pool(plain[row_format].native, ids, offsets, expected, kernel="portable")
            for name in nibblevec.kernels():
                _core.pool(table.native, ids, offsets, sums, kernel=name)
                require(same_bits(sums, expected), f"{row_format} on {name} gives other bits")
        _core.pool(plain["sse_q4"].native, ids, offsets, expected, kernel="portable")
        for rival in rivals:
            theirs = rival.sum(*rival.prepare(ids, offsets)).numpy()
            if rival.name == "torch float32":
                require(same_bits(theirs, expected), f"{rival.name} gives other bits")
            else:
                exact = np.add.reduceat(original[ids], offsets[:-1], axis=0)
                cosine = np.einsum("ij,ij->i", theirs, exact) / (
                    np.linalg.norm(theirs, axis=1) * np.linalg.norm(exact, axis=1)
                )
                require(cosine.min() > 0.99, f"{rival.name}: cosine {cosine.min()}")


def head_figures(
    natural_name: str, natural: NDArray[np.uint32], rng: np.random.Generator, clock: Clock
) -> Iterator[Figure]:
    """The head alone, in place on rows that stay in the cache."""
    model = Encoder()._model
    ids, offsets = calls(natural, BAG_LENGTHS[0])[0]
    sums = model.table.sum_rows(ids, offsets[: HEAD_ROWS + 1])
    counts = np.full(HEAD_ROWS, BAG_LENGTHS[0], np.uint64)
    # |tanh's argument| from 1 to 4, all beyond the first piece
    signs = rng.choice([-1, 1], sums.shape)
    wide = (signs * rng.uniform(1, 4, sums.shape) * BAG_LENGTHS[0]).astype(np.float32)
    ones, zeros = np.ones(DIM, np.float32), np.zeros(DIM, np.float32)
    assert model.dynamic_tanh is not None
    head = (model.dynamic_tanh.alpha, model.dynamic_tanh.beta, model.dynamic_tanh.bias)
    cases = {natural_name: (sums, head), "wide": (wide, (ones, ones, zeros))}
    for values, (rows, (alpha, beta, bias)) in cases.items():
        work = aligned(np.empty_like(rows))
        apply = partial(copy_and_head, rows, work, counts, _core.DynamicTanh(alpha, beta, bias))

        arguments = alpha.astype(np.float64) * (rows / counts[:, None]) + bias
        expected = beta * np.tanh(arguments)
        expected /= np.linalg.norm(expected, axis=1, keepdims=True)
        first: NDArray[np.float32] | None = None
        for name in nibblevec.kernels():
            apply(name)
            require(np.abs(work - expected).max() < 1e-6, f"head on {name} is wrong")
            first = work.copy() if first is None else first
            require(same_bits(work, first), f"head on {name} gives other bits")

        # The head works in place, so each call needs its rows anew: the copy is timed apart, in
        # the same round, and taken off.
        copy = Contestant("copy", None, 0, partial(np.copyto, work, rows))
        heads = [Contestant("head", name, 0, partial(apply, name)) for name in nibblevec.kernels()]
        copies, *series = clock([copy, *heads])
        for contestant, both in zip(heads, series, strict=True):
            rounds = [
                HEAD_ROWS / (1 / passes - 1 / copied) / 1e6
                for passes, copied in zip(both, copies, strict=True)
            ]
            yield {
                "what": "head",
                "kernel": contestant.kernel,
                "values": values,
                "dims": DIM,
                "second_piece_share": float(
                    (np.abs(arguments) > 0.625).reshape(-1, 16).any(axis=1).mean()
                ),
                **statistics("mrow_per_s", rounds),
            }


def copy_and_head(
    rows: NDArray[np.float32],
    work: NDArray[np.float32],
    counts: NDArray[np.uint64],
    dynamic_tanh: _core.DynamicTanh,
    name: str,
) -> None:
    """The head of ``rows``, in ``work``."""
    np.copyto(work, rows)
    _core.apply_head(
        work, counts, dynamic_tanh=dynamic_tanh, mean=True, normalize=True, kernel=name
    )


def timed(contestants: Sequence[Contestant], repeats: int, seconds: float) -> list[list[float]]:
    """Passes a second of each contestant in each round; in a round each has one turn."""
    for contestant in contestants:
        contestant.run()
    series: list[list[float]] = [[] for _ in contestants]
    for _ in range(repeats):
        for rates, contestant in zip(series, contestants, strict=True):
            passes, elapsed, begin = 0, 0.0, time.perf_counter()
            while elapsed < seconds:
                contestant.run()
                passes += 1
                elapsed = time.perf_counter() - begin
            rates.append(passes / elapsed)
    return series


def aligned(array: NDArray[Scalar]) -> NDArray[Scalar]:
    """A copy that starts at a page, as a mapped file does: no load of a vector crosses a line."""
    page = 4096
    memory = np.empty(array.nbytes + page, np.uint8)
    begin = -memory.ctypes.data % page
    copy = memory[begin : begin + array.nbytes].view(array.dtype).reshape(array.shape)
    np.copyto(copy, array)
    return copy
