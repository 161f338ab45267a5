"""What is read of a model's files, and how: maps, files that are cut meanwhile, bounds."""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from bad_models import left_alone
from tiny_gguf import (
    array,
    gguf_bytes,
    head_tensors,
    model_keys,
    number,
    string,
    table_tensor,
    text,
)
from tiny_models import (
    HEAD,
    MODEL,
    TABLE,
    TOKENIZER,
    VOCABULARY,
    head_parts,
    head_vectors,
    safetensors_file,
    write_model,
    write_model2vec,
    write_static_embedding,
)

from nibblevec import Encoder, ModelFormatError
from nibblevec._containers import files as model_files
from nibblevec._containers.files import MAX_TOKENIZER_BYTES, ModelFile
from nibblevec._containers.gguf_reader import MAX_HEADER_BYTES as MAX_GGUF_HEADER_BYTES
from nibblevec._containers.gguf_reader import MAX_STRINGS, read_gguf
from nibblevec._containers.json_files import MAX_SETTINGS_BYTES, parse_json_object
from nibblevec._containers.safetensors import MAX_HEADER_BYTES, read_safetensors
from nibblevec._containers.tensors import MAX_DIMS, MAX_TOKENS
from nibblevec._layouts.loading import load_model
from nibblevec._layouts.ranges import RANGES_NAME
from nibblevec._layouts.tokenizers import load_tokenizer_of

DIM = 30
ROWS = len(VOCABULARY)
GIGABYTES = 100 << 30


def numbers(*shape: int, dtype: str = "float32") -> Any:
    return np.random.default_rng(3).standard_normal(shape).astype(dtype)


def write_float_sse(folder: Path) -> Path:
    write_static_embedding(
        folder, {**head_vectors(DIM), "embedding.weight": numbers(ROWS, DIM)}, settings={}
    )
    return folder


def write_quantized(folder: Path) -> Path:
    write_model(folder)
    ranges = np.stack([np.full(DIM, -1, np.float32), np.full(DIM, 1, np.float32)])
    content = safetensors_file(*head_parts({f"normalized.{DIM}": ranges}))
    (folder / RANGES_NAME).write_bytes(content)
    return folder


def write_gguf_file(folder: Path) -> Path:
    folder.mkdir()
    tensors = {"token_embd.weight": table_tensor(DIM)[0], **head_tensors(DIM)}
    (folder / "model.gguf").write_bytes(gguf_bytes(model_keys(), tensors))
    return folder / "model.gguf"


def write_mapped_model2vec(folder: Path) -> Path:
    tensors = {
        "embeddings": numbers(9, DIM),
        "mapping": np.arange(ROWS, dtype=np.int64) % 9,
        "weights": numbers(ROWS, dtype="float64"),
    }
    return write_model2vec(folder, tensors, config={"normalize": True})


def write_bare(folder: Path) -> Path:
    write_static_embedding(folder, {"embedding.weight": numbers(ROWS, DIM)}, generation="3")
    return folder / "0_StaticEmbedding"


MODELS: dict[str, Callable[[Path], Path]] = {
    "quantized": write_quantized,
    "float": write_float_sse,
    "static": lambda folder: write_static_embedding(
        folder, {"embedding.weight": numbers(ROWS, DIM)}, generation="3", normalize=True
    ),
    "static of float64": lambda folder: write_static_embedding(
        folder, {"embedding.weight": numbers(ROWS, DIM, dtype="float64")}
    ),
    "model2vec": write_mapped_model2vec,
    "model2vec of halves": lambda folder: write_model2vec(
        folder,
        {"embeddings": numbers(ROWS, DIM, dtype="float16"), "weights": numbers(ROWS).astype("f2")},
    ),
    "bare": write_bare,
    "gguf": write_gguf_file,
}


class Maps:
    """Counts what is mapped into memory."""

    ALLOCATIONGRANULARITY = mmap.ALLOCATIONGRANULARITY
    ACCESS_READ = mmap.ACCESS_READ

    def __init__(self) -> None:
        self.lengths: list[int] = []

    def mmap(self, descriptor: int, length: int, **options: Any) -> mmap.mmap:
        self.lengths.append(length)
        return mmap.mmap(descriptor, length, **options)


@pytest.fixture
def maps(monkeypatch: pytest.MonkeyPatch) -> Maps:
    counted = Maps()
    monkeypatch.setattr(model_files, "mmap_module", counted)
    return counted


@pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)
def test_nothing_is_mapped_unless_it_was_asked_for(
    tmp_path: Path, maps: Maps, make: Callable[[Path], Path]
) -> None:
    model = make(tmp_path / "model")
    encoder = Encoder(model, mmap=False)
    vectors = encoder.encode(["tea", "a hot drink"])
    encoder.save_pretrained(str(tmp_path / "saved"))
    assert maps.lengths == []
    if os.path.exists("/proc/self/maps"):
        assert str(tmp_path) not in Path("/proc/self/maps").read_text()
    assert np.array_equal(Encoder(model).encode(["tea", "a hot drink"]), vectors)


@pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)
def test_only_the_table_is_mapped(tmp_path: Path, maps: Maps, make: Callable[[Path], Path]) -> None:
    """And only if it stays in its own bytes."""
    model = load_model(make(tmp_path / "model"))
    load_tokenizer_of(model)
    is_narrowed = model.wide_sums and model.token_rules.weight_of_id is None
    assert len(maps.lengths) == (0 if is_narrowed else 1)
    for length in maps.lengths:
        assert length < ROWS * DIM * 4 + 2 * mmap.PAGESIZE


class CutFile(ModelFile):
    """A file that is cut, once, between the moment when it is opened and its reading."""

    cut: ClassVar[set[str]] = set()

    def __init__(self, path: str, *, mmap: bool = False) -> None:
        super().__init__(path, mmap=mmap)
        if path not in self.cut:
            self.cut.add(path)
            os.truncate(path, self.size // 2 - 1)  # no whole number of rows


@pytest.mark.parametrize("mmap", [True, False])
@pytest.mark.parametrize(
    ("make", "name"),
    [
        (write_quantized, TABLE),
        (write_quantized, HEAD),
        (write_quantized, RANGES_NAME),
        (write_float_sse, MODEL),
        (write_mapped_model2vec, MODEL),
        (write_bare, MODEL),
        (write_gguf_file, "model.gguf"),
    ],
)
def test_file_that_is_cut_while_it_is_read(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    mmap: bool,
    make: Callable[[Path], Path],
    name: str,
) -> None:
    """An error, whether it is read or mapped, and never a signal."""
    model = make(tmp_path / "model")
    path = model if model.is_file() else model / name
    opened = ModelFile

    def open_file(path_opened: str, *, mmap: bool = False) -> ModelFile:
        kind = CutFile if os.path.basename(path_opened) == name else opened
        return kind(path_opened, mmap=mmap)

    for module in ("nibblevec._containers.files", "nibblevec._containers.safetensors"):
        monkeypatch.setattr(f"{module}.ModelFile", open_file)
    monkeypatch.setattr("nibblevec._containers.gguf_reader.ModelFile", open_file)
    with pytest.raises(ModelFormatError, match=r"cut while it was read|rows|of data") as caught:
        load_model(model, mmap=mmap)
    assert caught.value.path == str(path)


def test_pieces_of_a_file(tmp_path: Path) -> None:
    """Mapped or read, whatever the offset, the bytes are those of the file."""
    content = np.random.default_rng(1).integers(0, 256, 3 * mmap.ALLOCATIONGRANULARITY, np.uint8)
    (tmp_path / "file").write_bytes(content.tobytes())
    for is_mapped in (True, False):
        file = ModelFile(str(tmp_path / "file"), mmap=is_mapped)
        page = mmap.ALLOCATIONGRANULARITY
        for begin in (0, 1, page - 1, page, page + 7, 3 * page):
            for end in (begin, begin + 1, page * 3 - 1, page * 3):
                if begin <= end <= content.size:
                    piece = file.piece(begin, end, "field")
                    assert np.array_equal(piece, content[begin:end])
                    assert not piece.flags.writeable
        os.replace(tmp_path / "file", tmp_path / "moved")  # it stays the file that was opened
        (tmp_path / "file").write_bytes(b"other")
        assert np.array_equal(file.piece(0, 9, "field"), content[:9])
        os.replace(tmp_path / "moved", tmp_path / "file")


# Bounds


def sparse(path: Path, beginning: bytes, size: int = GIGABYTES) -> None:
    with open(path, "wb") as file:
        file.write(beginning)
        file.truncate(size)


@pytest.mark.malformed
@pytest.mark.parametrize(
    ("name", "field", "bound"),
    [
        (TOKENIZER, "tokenizer", MAX_TOKENIZER_BYTES),
        ("modules.json", "modules", MAX_SETTINGS_BYTES),
        ("config_sentence_transformers.json", "settings", MAX_SETTINGS_BYTES),
        ("1_Normalize/config.json", "config", MAX_SETTINGS_BYTES),
        ("config.json", "config", MAX_SETTINGS_BYTES),
    ],
)
def test_json_files_are_bounded(tmp_path: Path, name: str, field: str, bound: int) -> None:
    """The error names file, size and bound, and nothing is read."""
    tensors = {"embeddings": numbers(ROWS, DIM)}
    folder = write_static_embedding(
        tmp_path / "model", tensors, generation="model2vec", normalize=True
    )
    (folder / "1_Normalize").mkdir()
    (folder / "config.json").write_text('{"model_type": "other"}')
    path = folder / name
    for size in (bound + 1, GIGABYTES):
        sparse(path, b"{", size)
        with left_alone(folder), pytest.raises(ModelFormatError) as caught:
            Encoder(folder)
        assert str(caught.value) == f"{path}: {field}: {size} bytes, expected at most {bound}"


def test_settings_of_the_greatest_size(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "model")
    settings = json.dumps({"prompts": {"query": "search: "}}).ljust(MAX_SETTINGS_BYTES)
    (folder / "config_sentence_transformers.json").write_text(settings)
    assert Encoder(folder).prompts["query"] == "search: "


def test_file_that_grows_or_does_not_say_its_size(tmp_path: Path) -> None:
    if os.path.exists("/proc/self/status"):
        assert b"VmRSS" in model_files.read_file("/proc/self/status", "field", 1 << 20)
        with pytest.raises(ModelFormatError, match="101 bytes, expected at most 100"):
            model_files.read_file("/proc/self/status", "field", 100)
    (tmp_path / "file").write_bytes(bytes(100))
    assert model_files.read_file(str(tmp_path / "file"), "field", 100) == bytes(100)
    with pytest.raises(ModelFormatError, match="100 bytes, expected at most 99"):
        model_files.read_file(str(tmp_path / "file"), "field", 99)


@pytest.mark.malformed
@pytest.mark.parametrize("limit", [0, 640, 4300, 1_000_000])
@pytest.mark.parametrize("content", [b'{"a": %s}', b'{"model": {"vocab": {"a": %s}}}'])
def test_number_of_a_million_digits(tmp_path: Path, limit: int, content: bytes) -> None:
    """Refused at once, whatever limit the interpreter was given; its time would be quadratic."""
    if not hasattr(sys, "set_int_max_str_digits"):
        pytest.skip("Python has no limit")
    folder = write_model(tmp_path / "model")
    before = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(limit)
    try:
        for digits in (b"9" * 1_000_000, b"-" + b"9" * 1_000_000):
            (folder / TOKENIZER).write_bytes(content % digits)
            with left_alone(folder), pytest.raises(ModelFormatError, match="not valid JSON"):
                Encoder(folder)
    finally:
        sys.set_int_max_str_digits(before)


@pytest.mark.malformed
@pytest.mark.parametrize(
    "content",
    [
        b'{"a": ' + b"[" * 400_000,
        b'{"a":' * 200_000,
        b'{"a": 0.' + b"3" * 1_000_000 + b"}",
        b'{"a": 1e' + b"9" * 1_000_000 + b"}",
        b'{"a": "' + b"x" * 1_000_000 + b'"}',
        b'{"a": "' + b"\\u0000" * 300_000 + b'"}',
        b'{"' + b'a": 1, "' * 200_000 + b'": 1}',
    ],
    ids=["arrays", "objects", "float", "exponent", "string", "escapes", "keys"],
)
def test_long_and_deep_json(tmp_path: Path, content: bytes) -> None:
    folder = write_model(tmp_path / "model")
    (folder / TOKENIZER).write_bytes(content)
    with left_alone(folder), pytest.raises(ModelFormatError):
        Encoder(folder)


def sparse_safetensors(path: Path, name: str, dtype: str, shape: list[int], item: int) -> None:
    size = item * int(np.prod(shape, dtype=object))
    header = {name: {"dtype": dtype, "shape": shape, "data_offsets": [0, size]}}
    content = safetensors_file(header)
    sparse(path, content, len(content) + size)


@pytest.mark.malformed
@pytest.mark.parametrize("is_mapped", [True, False])
def test_vectors_of_sparse_files_are_bounded(tmp_path: Path, is_mapped: bool) -> None:
    """A file that takes no room on the disk may state 100 GB of a head or a mapping."""
    folder = write_model(tmp_path / "model")
    sparse_safetensors(folder / HEAD, "dyt.alpha", "F32", [25 << 30], 4)
    with left_alone(folder), pytest.raises(ModelFormatError, match=f"expected at most {MAX_DIMS}"):
        load_model(folder, mmap=is_mapped)
    folder = write_model(tmp_path / "ranges")
    sparse_safetensors(folder / RANGES_NAME, "normalized.5", "F32", [2, 12 << 30], 4)
    with left_alone(folder), pytest.raises(ModelFormatError, match=f"expected 1..{DIM}"):
        load_model(folder, mmap=is_mapped)
    embeddings = numbers(4, DIM)
    header, data = head_parts({"embeddings": embeddings})
    size = 100 << 30
    header["mapping"] = {
        "dtype": "U8", "shape": [size], "data_offsets": [len(data), len(data) + size],
    }  # fmt: skip
    folder = write_model2vec(tmp_path / "model2vec", {"embeddings": embeddings})
    content = safetensors_file(header, data)
    sparse(folder / MODEL, content, len(content) + size)
    with (
        left_alone(folder),
        pytest.raises(ModelFormatError, match=f"length {size}, expected at most {MAX_TOKENS}"),
    ):
        load_model(folder, mmap=is_mapped)


@pytest.mark.malformed
@pytest.mark.parametrize("is_mapped", [True, False])
@pytest.mark.parametrize(
    "key",
    [
        string("x") + array("string", [], 12 << 30),
        string("x") + array("uint8", [], 90 << 30),
        string("x") + text("", 90 << 30),
        string("x") + array("string", [], MAX_STRINGS + 1),
    ],
    ids=["empty strings", "array", "string", "strings"],
)
def test_gguf_headers_are_bounded(tmp_path: Path, is_mapped: bool, key: bytes) -> None:
    """What is passed in a loop cannot be as long as a sparse file."""
    path = tmp_path / "model.gguf"
    content = gguf_bytes({}, {}, key_count=1)[:24] + key
    sparse(path, content)
    with left_alone(tmp_path), pytest.raises(ModelFormatError, match="expected") as caught:
        load_model(path, mmap=is_mapped)
    assert caught.value.path == str(path)


def test_gguf_tokenizer_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = write_gguf_file(tmp_path / "folder")
    monkeypatch.setattr("nibblevec._layouts.gguf_model.MAX_TOKENIZER_BYTES", 100)
    with pytest.raises(ModelFormatError, match=r"json: \d+ bytes, expected at most 100$"):
        load_model(model)


def test_headers_are_read_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the pieces of a GGUF header are, and wherever a string lies in them."""
    keys = {
        "a": text("tea"),
        "tokens": array("string", ["", "tea", "x" * 1000, "", "caf\u00e9"] * 20),
        "scores": array("float32", [0.5] * 300),
        "b": number("uint64", 1 << 40),
        "last": text("x" * 5000),
    }
    tensor, _ = table_tensor(DIM)
    (tmp_path / "file").write_bytes(gguf_bytes(keys, {"t": tensor}))
    for chunk_bytes in (1, 7, 8, 9, 100, 4096, 1 << 20):
        monkeypatch.setattr("nibblevec._containers.gguf_reader.CHUNK_BYTES", chunk_bytes)
        file = read_gguf(str(tmp_path / "file"))
        assert file.strings("tokens") == ["", "tea", "x" * 1000, "", "caf\u00e9"] * 20
        assert bytes(file.metadata["scores"].data) == np.full(300, 0.5, "<f4").tobytes()
        assert (file.string("a"), file.size("b")) == ("tea", 1 << 40)
        assert file.string("last") == "x" * 5000
        assert file.tensors["t"].data.tobytes() == tensor.data


def test_bounds_of_headers() -> None:
    """Those that the formats' own readers have, or many times what models have."""
    assert MAX_HEADER_BYTES == 100_000_000
    assert MAX_TOKENIZER_BYTES >= 100_000_000
    assert MAX_GGUF_HEADER_BYTES >= 2 * MAX_TOKENIZER_BYTES


@pytest.mark.malformed
@pytest.mark.parametrize(
    "header",
    [
        b'{"a": {"x": ' + b"[" + b"[]," * 1_500_000 + b"[]]}}",
        b'{"a": ' + b"[" + b"{}," * 3_000_000 + b"{}]}",
        b'{"__metadata__": {"a": [' + b"[]," * 3_000_000 + b"[]]}}",
        b'{"__metadata__": {"' + b'a": "", "' * 1_000_000 + b'b": ""}}',
        b"{" + b'"a": {"x": {}},' * 600_000 + b'"b": 1}',
    ],
    ids=["lists", "objects", "metadata", "keys", "entries"],
)
def test_work_on_a_long_header_is_bounded(tmp_path: Path, header: bytes) -> None:
    """5 to 10 MB of small things would be objects of 200 MB, if all were made at once."""
    (tmp_path / MODEL).write_bytes(safetensors_file(header))
    with left_alone(tmp_path), pytest.raises(ModelFormatError):
        read_safetensors(str(tmp_path / MODEL))


def test_a_file_is_closed_when_nothing_needs_it(tmp_path: Path) -> None:
    if not os.path.exists("/proc/self/fd"):
        pytest.skip("counts descriptors in /proc")
    before = len(os.listdir("/proc/self/fd"))
    for number_of_model, make in enumerate(MODELS.values()):
        load_model(make(tmp_path / f"{number_of_model}"), mmap=False)
    assert len(os.listdir("/proc/self/fd")) == before
    with pytest.raises(IsADirectoryError):
        ModelFile(str(tmp_path))


def random_header(random: np.random.Generator) -> tuple[bytes, int]:
    """A header that is sound, or nearly, in one of many spellings, and the bytes of its data."""
    bits = {"F4": 4, "F6_E3M2": 6, "U8": 8, "F8_E8M0": 8, "BF16": 16, "F32": 32, "C64": 64}
    entries: list[tuple[str, Any]] = []
    end = 0
    for count in range(random.integers(0, 4)):
        dtype = str(random.choice(list(bits)))
        shape = [int(size) for size in random.choice([0, 1, 3, 8], random.integers(0, 4))]
        shape += [8] * (bits[dtype] * int(np.prod(shape)) % 8 > 0)
        begin, end = end, end + bits[dtype] * int(np.prod(shape)) // 8
        name = str(random.choice(["", "\u00e9}", '"', "\u202e\n", "x" * 99])) + str(count)
        fields = {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}
        kind = random.integers(0, 30)
        if kind == 0:
            fields["data_offsets"] = [begin + 1, end + 1]
        elif kind == 1:
            fields["shape"] = [*shape, 2]
        elif kind == 2:
            fields["dtype"] = "F9"
        elif kind == 3:
            del fields[str(random.choice(list(fields)))]
        keys = list(fields)
        random.shuffle(keys)
        entries.append((name, {key: fields[key] for key in keys}))
    random.shuffle(entries)
    metadata: list[Any] = [None, {}, {"a": "}{[\n"}, {"\u00e9": ""}, [], {"a": 1}, {"a": None}]
    if random.integers(0, 2):
        entries.append(("__metadata__", metadata[random.integers(0, len(metadata))]))
    separators = [(",", ":"), (" ,\n", "\t: ")][random.integers(0, 2)]
    is_ascii = bool(random.integers(0, 2))
    content = json.dumps(dict(entries), separators=separators, ensure_ascii=is_ascii)
    padding = [b"", b"   ", b"\n\r\t ", b"\0", b"{}"][random.integers(0, 5)]
    return content.encode() + padding, end


def test_headers_that_the_safetensors_package_takes(tmp_path: Path) -> None:
    """Where no key repeats and no field is unknown, it takes the same headers."""
    safetensors = pytest.importorskip("safetensors", minversion="0.8")
    path = str(tmp_path / MODEL)
    random = np.random.default_rng(5)
    taken = 0
    for _ in range(500):
        header, data_bytes = random_header(random)
        Path(path).write_bytes(safetensors_file(header, bytes(data_bytes)))
        expected = None
        with contextlib.suppress(safetensors.SafetensorError):
            with safetensors.safe_open(path, "np") as file:
                expected = set(file.keys())
            taken += 1
        found = None
        with contextlib.suppress(ModelFormatError):
            found = set(read_safetensors(path))
        assert found == expected, header
    assert 100 < taken < 450


@pytest.mark.malformed
@pytest.mark.parametrize(
    "text",
    [
        '{"a": 1, "a": 2}',
        '{"a" : 1, "a": 2, "b": "\\":"}',
        '{"a"\n:1, "b": {"c": [{"d": 1, "d": 1}]}, "e": "x\\": "}',
        '{"a\\"": 1, "a\\u0022": 2}',
        '{"a" :1,"a" :2}',
        '{"": 1, "": 2, "\\":": 3}',
        '{":": 1, ":": 2}',
        '{"a":":", "b":":a", "b":":":2}'.replace('":":2', '":2"'),
    ],
)
def test_repeated_keys(text: str) -> None:
    with pytest.raises(ModelFormatError, match="occurs twice in one object"):
        parse_json_object(text.encode(), "path", "field")


@pytest.mark.parametrize(
    "text", ['{"a" : 1, "b": "\\":"}', '{"\\":": [{"a": {}}, {"a": 1}]}', '{"a"\t: "\\" :"}', "{}"]
)
def test_keys_that_are_not_repeated(text: str) -> None:
    assert parse_json_object(text.encode(), "path", "field") == json.loads(text)
