"""Small models of every layout for tests, written by hand, and what they must give."""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers
from numpy.typing import NDArray

TABLE = "embedding.q4_k_m.bin"
HEAD = "model_rest.safetensors"
TOKENIZER = "tokenizer.json"
MODEL = "model.safetensors"
MODEL_FILES = (TABLE, HEAD, TOKENIZER)

SPECIALS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
# An odd number of entries: with dim / 2 odd, scales begin at an odd byte.
VOCABULARY = (
    *SPECIALS,
    *("tea", "is", "a", "hot", "drink", "cup", "of", "the", "stock", "market", "fell", "un"),
    *("##able", "##s", "##ing", "##ed", "##e", "play", "walk", "b", "c", "d", "##b", "##c"),
    *(".", ",", "!", "?", "'", "-", "caf", "cafe", "\u4e2d", "\u6587", "\U0001f600", "1", "##2"),
)

COMMIT = "0123456789abcdef0123456789abcdef01234567"

JsonObject = dict[str, Any]


def tokenizer_content(vocabulary: Sequence[str] = VOCABULARY) -> JsonObject:
    """What `tokenizer.json` of an uncased BERT tokenizer holds."""
    added = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {"id": vocabulary.index(token), "content": token, "special": True, **added}
            for token in SPECIALS
        ],
        "normalizer": {
            "type": "BertNormalizer",
            "clean_text": True,
            "handle_chinese_chars": True,
            "strip_accents": None,
            "lowercase": True,
        },
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [
                {"SpecialToken": {"id": "[CLS]", "type_id": 0}},
                {"Sequence": {"id": "A", "type_id": 0}},
            ],
            "pair": [
                {"Sequence": {"id": "A", "type_id": 0}},
                {"Sequence": {"id": "B", "type_id": 1}},
            ],
            "special_tokens": {"[CLS]": {"id": "[CLS]", "ids": [2], "tokens": ["[CLS]"]}},
        },
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
        "model": {
            "type": "WordPiece",
            "unk_token": "[UNK]",
            "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100,
            "vocab": {token: number for number, token in enumerate(vocabulary)},
        },
    }


def safetensors_file(header: object, data: bytes = b"") -> bytes:
    """A file with this header, given as what JSON is made of or as the bytes themselves."""
    encoded = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(encoded)) + encoded + data


def head_parts(vectors: Mapping[str, NDArray[Any]]) -> tuple[JsonObject, bytes]:
    """Header and data of a safetensors file of these arrays; uint16 stands for bfloat16."""
    dtypes = {"float32": "F32", "float64": "F64", "float16": "F16", "uint16": "BF16"}
    dtypes |= {"int8": "I8", "int16": "I16", "int32": "I32", "int64": "I64"}
    dtypes |= {"uint8": "U8", "uint32": "U32", "uint64": "U64"}
    header: JsonObject = {}
    data = b""
    for name, array in vectors.items():
        content = array.tobytes()
        header[name] = {
            "dtype": dtypes[array.dtype.name],
            "shape": list(array.shape),
            "data_offsets": [len(data), len(data) + len(content)],
        }
        data += content
    return header, data


def head_vectors(dim: int, seed: int = 7) -> dict[str, NDArray[np.float32]]:
    """A head whose tanh is neither linear nor saturated."""
    random = np.random.default_rng(seed)
    return {
        "dyt.alpha": random.uniform(0.5, 2, dim).astype(np.float32),
        "dyt.beta": random.uniform(0.5, 1.5, dim).astype(np.float32),
        "dyt.bias": random.uniform(-0.5, 0.5, dim).astype(np.float32),
    }


def table_bytes(rows: int, dim: int, seed: int = 7) -> bytes:
    """Random nibbles and scales."""
    random = np.random.default_rng(seed)
    packed = random.integers(0, 256, (rows, dim // 2), np.uint8)
    scales = random.uniform(0.2, 2, rows).astype("<f4")
    return packed.tobytes() + scales.tobytes()


def write_model(folder: Path, *, dim: int = 30, rows: int = len(VOCABULARY), seed: int = 7) -> Path:
    """Write a whole model into a new folder, which is returned."""
    folder.mkdir(parents=True)
    (folder / TABLE).write_bytes(table_bytes(rows, dim, seed))
    (folder / HEAD).write_bytes(safetensors_file(*head_parts(head_vectors(dim, seed))))
    (folder / TOKENIZER).write_text(json.dumps(tokenizer_content()), encoding="utf-8")
    return folder


def bpe_content() -> JsonObject:
    """A tokenizer that is not run natively, with an unknown token."""
    vocabulary = ["<unk>", "t", "e", "a", "c", "u", "p", "te", "tea", "cu", "cup", "."]
    return {
        "version": "1.0",
        "added_tokens": [],
        "pre_tokenizer": {"type": "Whitespace"},
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": "<unk>",
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "vocab": {token: number for number, token in enumerate(vocabulary)},
            "merges": ["t e", "te a", "c u", "cu p"],
        },
    }


def unigram_content() -> JsonObject:
    """Another, whose unknown token is told by its number."""
    return {
        "version": "1.0",
        "added_tokens": [],
        "pre_tokenizer": {"type": "Metaspace", "replacement": "_", "prepend_scheme": "always"},
        "model": {
            "type": "Unigram",
            "unk_id": 1,
            "vocab": [["_", -3.0], ["<unk>", 0.0], ["t", -2.0], ["ea", -2.5], ["_tea", -1.0]],
        },
    }


# Type of a `StaticEmbedding`, and its folder, in `modules.json` of sentence-transformers 3, 6, and
# as model2vec writes it.
GENERATIONS = {
    "3": ("sentence_transformers.models.StaticEmbedding", "0_StaticEmbedding"),
    "6": (
        "sentence_transformers.sentence_transformer.modules.static_embedding.StaticEmbedding",
        "",
    ),
    "model2vec": ("sentence_transformers.models.StaticEmbedding", "."),
}
NORMALIZE = "sentence_transformers.models.Normalize"


def write_static_embedding(
    folder: Path,
    tensors: Mapping[str, NDArray[Any]],
    *,
    generation: str = "6",
    normalize: bool = False,
    tokenizer: JsonObject | None = None,
    settings: object = None,
) -> Path:
    """Write a model of sentence-transformers into a new folder, which is returned."""
    kind, place = GENERATIONS[generation]
    modules = [{"idx": 0, "name": "0", "path": place, "type": kind}]
    if normalize:
        modules.append({"idx": 1, "name": "1", "path": "1_Normalize", "type": NORMALIZE})
    (folder / place).mkdir(parents=True)
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / place / MODEL).write_bytes(safetensors_file(*head_parts(tensors)))
    (folder / place / TOKENIZER).write_text(json.dumps(tokenizer or tokenizer_content()))
    if settings is not None:
        (folder / "config_sentence_transformers.json").write_text(json.dumps(settings))
    return folder


def write_model2vec(
    folder: Path,
    tensors: Mapping[str, NDArray[Any]],
    *,
    config: object = None,
    tokenizer: JsonObject | None = None,
) -> Path:
    """Write a Model2Vec model into a new folder, which is returned."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({} if config is None else config))
    (folder / MODEL).write_bytes(safetensors_file(*head_parts(tensors)))
    (folder / TOKENIZER).write_text(json.dumps(tokenizer or tokenizer_content()))
    return folder


def lay_into_cache(cache: Path, name: str, model: Path, commit: str = COMMIT) -> None:
    """Lay a model down in a cache as the hub's library does."""
    repository = cache / f"models--{name.replace('/', '--')}"
    snapshot = repository / "snapshots" / commit
    snapshot.mkdir(parents=True)
    (repository / "refs").mkdir(exist_ok=True)
    (repository / "refs" / "main").write_text(commit)
    for file in MODEL_FILES:
        shutil.copy(model / file, snapshot / file)


def published_vectors(
    folder: Path, texts: Sequence[str], *, dims: int | None = None, normalize: bool = False
) -> NDArray[np.float64]:
    """The published formula, text after text: decode, mean, Dynamic Tanh, truncate, L2."""
    content = (folder / HEAD).read_bytes()
    header_bytes = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + header_bytes])
    head = {}
    for name in ("alpha", "beta", "bias"):
        begin, end = header[f"dyt.{name}"]["data_offsets"]
        raw = content[8 + header_bytes + begin : 8 + header_bytes + end]
        head[name] = np.frombuffer(raw, "<f4").astype(np.float64)
    dim = len(head["alpha"])
    raw_table = (folder / TABLE).read_bytes()
    rows = len(raw_table) // (dim // 2 + 4)
    packed = np.frombuffer(raw_table, np.uint8, rows * dim // 2).reshape(rows, dim // 2)
    scales = np.frombuffer(raw_table[rows * dim // 2 :], "<f4")
    tokenizer = tokenizers.Tokenizer.from_file(str(folder / TOKENIZER))
    tokenizer.no_padding()
    vectors = np.empty((len(texts), dims or dim))
    for row, text in enumerate(texts):
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        mean = np.zeros(dim, np.float32)
        if ids:
            codes = np.empty((len(ids), dim), np.float32)
            codes[:, 0::2] = packed[ids] >> 4
            codes[:, 1::2] = packed[ids] & 15
            weights = (codes / np.float32(7.5) - np.float32(1)) * scales[ids, np.newaxis]
            # Token after token in float32, as the sum of a long text must be compared.
            mean = np.add.accumulate(weights, axis=0)[-1] / np.float32(len(ids))
        full = head["beta"] * np.tanh(head["alpha"] * mean + head["bias"])
        vector = full[: dims or dim]
        length = max(float(np.linalg.norm(vector)), 1e-12) if normalize else 1
        vectors[row] = vector / length
    return vectors
