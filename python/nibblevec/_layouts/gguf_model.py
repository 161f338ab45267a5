"""Whole models in one GGUF file: table, head, tokenizer and settings.

See docs/formats.md for the keys and tensors.
"""

from __future__ import annotations

import sys
from typing import IO, TYPE_CHECKING, cast, get_args

import numpy as np

from nibblevec._containers.files import MAX_TOKENIZER_BYTES, ModelFormatError
from nibblevec._containers.gguf_reader import read_gguf
from nibblevec._containers.gguf_writer import write_gguf
from nibblevec._containers.tensors import (
    FLOAT_TYPES,
    ROW_FORMATS,
    rules_of,
    table_of,
    tensor_named,
    tensor_of_table,
    tensors_of_rules,
)
from nibblevec._layouts.dynamic_tanh import (
    DYNAMIC_TANH_TENSORS,
    dynamic_tanh_of,
    has_dynamic_tanh,
    tensors_of_dynamic_tanh,
)
from nibblevec._layouts.place import Place
from nibblevec._layouts.ranges import ranges_of, tensors_of_ranges
from nibblevec._model import IMPLIED_PROMPT_NAMES, Model, Normalization, TokenizerJson
from nibblevec._similarity import SIMILARITY_FUNCTIONS
from nibblevec._table import PACKED_FORMATS, Table
from nibblevec._token_rules import TokenRules, Truncation

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nibblevec._containers.gguf_reader import GgufFile
    from nibblevec._containers.gguf_writer import GgufValue
    from nibblevec._containers.stored_tensors import StoredTensor

ARCHITECTURE = "sse"
TABLE_TENSOR = "token_embd.weight"
TOKENIZER_KEY = "tokenizer.huggingface.json"
PREFIX = "sse."
RANGES_PREFIX = "sse.ranges."

# Types of tables that need no other package. All keep their bytes, but for F64: it becomes float32.
OWN_TYPES = (*FLOAT_TYPES, "F64", *(name for name in ROW_FORMATS if name not in FLOAT_TYPES))

# `general.file_type`, as llama.cpp numbers the type of most tensors.
FILE_TYPES: dict[str, int] = {
    "float32": 0,
    "float16": 1,
    "q4_k": 15,
    "q6_k": 18,
    "bfloat16": 32,
}
OTHER_FILE_TYPE = 1024  # none of these: the tensors tell


def load(place: Place) -> Model:
    """Load a GGUF file.

    Args:
        place: holds ``token_embd.weight`` [rows, dim] and the content of ``tokenizer.json`` under
            ``tokenizer.huggingface.json``. With ``dyt.alpha``, ``dyt.beta`` and ``dyt.bias``
            (F32 [dim]) a vector is their Dynamic Tanh of the mean of the rows, without them the
            mean itself. A table of another type than F32, F16, BF16, Q4_K and Q6_K is decoded to
            float32 by the `gguf` package.

    Raises:
        OSError: the file is missing, cannot be read, or is not a regular file.
        ModelFormatError: it is not a GGUF file; a key or a tensor is missing or has a wrong value;
            the `gguf` package is needed and missing.
    """
    path = place.path
    file = read_gguf(path, mmap=place.mmap)
    parts = file.size("split.count") or 1
    if parts > 1:
        problem = f"one of {parts} files that a model was split into; llama-gguf-split --merge"
        raise ModelFormatError(path, "split.count", f"{problem} makes one of them")
    table = _table(file)
    rules = _token_rules(file, table)
    _check_stated(file, table, rules)
    dynamic_tanh = None
    if has_dynamic_tanh(file.tensors):
        dynamic_tanh = dynamic_tanh_of(file.tensors, ("F32",), path)
        length = len(dynamic_tanh.alpha)
        if length != table.dim:
            problem = f"length {length}, expected {table.dim}, the dims of {TABLE_TENSOR}"
            raise ModelFormatError(path, DYNAMIC_TANH_TENSORS[0], problem)
    tokenizer_json = file.string_bytes(TOKENIZER_KEY, MAX_TOKENIZER_BYTES)
    if tokenizer_json is None:
        problem = "missing; a model's whole tokenizer.json is looked for there"
        raise ModelFormatError(path, TOKENIZER_KEY, problem + _of_another_network(file))
    prompts = _prompts(file)
    default_prompt_name = file.string("sse.prompt.default")
    known = (None, *IMPLIED_PROMPT_NAMES, *prompts)
    if default_prompt_name not in known:
        raise ModelFormatError(
            path, "sse.prompt.default", f"{default_prompt_name!r:.80} is none of the prompts"
        )
    truncate_dim = file.size("sse.truncate_dim") or None
    if truncate_dim is not None and truncate_dim > table.dim:
        raise ModelFormatError(
            path, "sse.truncate_dim", f"{truncate_dim}, expected at most {table.dim}"
        )
    return Model(
        layout="GGUF",
        table=table,
        tokenizer_json=TokenizerJson(path, tokenizer_json),
        dynamic_tanh=dynamic_tanh,
        normalization=_normalization(file),
        token_rules=rules,
        wide_sums=bool(file.boolean("sse.wide_sums")),
        prompts=prompts,
        default_prompt_name=default_prompt_name,
        similarity_fn_name=_one_of(file, "sse.similarity", SIMILARITY_FUNCTIONS),
        truncate_dim=truncate_dim,
        ranges=ranges_of(file.tensors, table.dim, path, prefix=RANGES_PREFIX),
        name=file.string("general.name"),
        license=file.string("general.license"),
    )


def _table(file: GgufFile) -> Table:
    try:
        tensor = tensor_named(file.tensors, TABLE_TENSOR, file.path)
    except ModelFormatError as error:
        problem = error.problem + _of_another_network(file)
        raise ModelFormatError(file.path, TABLE_TENSOR, problem) from None
    if tensor.dtype in OWN_TYPES or len(tensor.shape) != 2 or 0 in tensor.shape:
        return table_of(file.tensors, TABLE_TENSOR, OWN_TYPES, file.path)
    try:
        rows = _decoded_by_gguf(tensor)
        return Table.from_buffer(rows, dim=tensor.shape[1], format="float32")
    except ValueError as error:
        raise ModelFormatError(file.path, TABLE_TENSOR, str(error)) from None


def _of_another_network(file: GgufFile) -> str:
    """The network that a GGUF file holds, as the end of an error; empty if it does not say."""
    architecture = file.string("general.architecture")
    if architecture in (None, ARCHITECTURE):
        return ""
    return f"; it is a {architecture:.40} network, of which nibblevec runs none"


def _decoded_by_gguf(tensor: StoredTensor) -> NDArray[np.float32]:
    """A table of any other type, as float32 [rows, dim].

    Raises:
        ValueError: the `gguf` package is missing, or does not decode this type; a weight is not
            finite.
    """
    try:
        from gguf import GGMLQuantizationType, quants
    except ImportError:
        raise ValueError(
            f"{tensor.dtype} is decoded by the gguf package, which is missing or too old:"
            " pip install 'nibblevec[gguf]'"
        ) from None
    blocks = tensor.data.reshape(tensor.shape[0], -1)
    try:
        with np.errstate(all="ignore"):
            rows = quants.dequantize(blocks, GGMLQuantizationType[tensor.dtype])
    except (KeyError, NotImplementedError):
        problem = f"the gguf package does not decode {tensor.dtype}; a newer one may"
        raise ValueError(problem) from None
    finite = np.isfinite(rows).all(axis=1)
    if not finite.all():
        raise ValueError(f"row {int(np.argmin(finite))} holds a weight that is not finite")
    return np.ascontiguousarray(rows, np.float32)


def _check_stated(file: GgufFile, table: Table, rules: TokenRules) -> None:
    """Refuse metadata that contradicts the tensors."""
    ids = table.rows if rules.ids is None else rules.ids
    for key, held in (("sse.embedding_length", table.dim), ("sse.vocab_size", ids)):
        stated = file.size(key)
        if stated not in (None, held):
            raise ModelFormatError(file.path, key, f"{stated}, but the tensors have {held}")
    _one_of(file, "sse.pooling", ("mean",))


def _normalization(file: GgufFile) -> Normalization | None:
    if not file.boolean("sse.normalize"):
        return None
    name = _one_of(file, "sse.normalization", get_args(Normalization))
    return "torch" if name is None else cast(Normalization, name)


def _one_of(file: GgufFile, key: str, words: tuple[str, ...]) -> str | None:
    word = file.string(key)
    if word not in (None, *words):
        expected = f"one of {', '.join(words)}" if len(words) > 1 else repr(words[0])
        raise ModelFormatError(file.path, key, f"{word!r:.80}, expected {expected}")
    return word


def _token_rules(file: GgufFile, table: Table) -> TokenRules:
    max_length = file.size("sse.max_length") or None
    truncation = None
    if max_length is not None or file.boolean("sse.replaces_truncation"):
        keep_end = bool(file.boolean("sse.keeps_end"))
        truncation = Truncation(
            None if max_length is None else min(max_length, sys.maxsize), keep_end
        )
    return rules_of(file.tensors, table.rows, file.path, prefix=PREFIX)._replace(
        truncation=truncation,
        cuts_characters=bool(file.boolean("sse.cuts_characters")),
        drops_unknown=bool(file.boolean("sse.drops_unknown")),
    )


def _prompts(file: GgufFile) -> dict[str, str]:
    names = file.strings("sse.prompt.names") or []
    texts = file.strings("sse.prompt.texts") or []
    if len(names) != len(texts):
        raise ModelFormatError(
            file.path, "sse.prompt.texts", f"{len(texts)} texts for {len(names)} names"
        )
    prompts = dict(zip(names, texts, strict=True))
    if len(prompts) != len(names):
        raise ModelFormatError(file.path, "sse.prompt.names", "a name occurs twice")
    return prompts


def write(model: Model, file: IO[bytes]) -> None:
    """Write a model as one GGUF file.

    Args:
        model: its table has one of the row formats of this layout.
        file: an empty one.

    Raises:
        OSError: it cannot be written.
    """
    table, rules = model.table, model.token_rules
    tensors = {TABLE_TENSOR: tensor_of_table(table)}
    if model.dynamic_tanh is not None:
        tensors |= tensors_of_dynamic_tanh(model.dynamic_tanh)
    tensors |= tensors_of_rules(rules, prefix=PREFIX)
    tensors |= tensors_of_ranges(model.ranges, prefix=RANGES_PREFIX)
    write_gguf(file, _metadata(model), tensors)


def _metadata(model: Model) -> dict[str, GgufValue]:
    table, rules = model.table, model.token_rules
    truncation = rules.truncation or Truncation()
    optional = {
        "general.name": model.name,
        "general.license": model.license,
        # The version of ggml's quantised blocks.
        "general.quantization_version": 2 if table.format in PACKED_FORMATS else None,
        "sse.normalization": model.normalization,
        "sse.replaces_truncation": rules.truncation is not None or None,
        "sse.keeps_end": truncation.keep_end or None,
        "sse.cuts_characters": rules.cuts_characters or None,
        "sse.drops_unknown": rules.drops_unknown or None,
        "sse.wide_sums": model.wide_sums or None,
        "sse.similarity": model.similarity_fn_name,
        "sse.prompt.names": list(model.prompts) or None,
        "sse.prompt.texts": list(model.prompts.values()) or None,
        "sse.prompt.default": model.default_prompt_name,
        "sse.truncate_dim": model.truncate_dim,
    }
    return {
        "general.architecture": ARCHITECTURE,
        "general.file_type": FILE_TYPES.get(table.format, OTHER_FILE_TYPE),
        "sse.embedding_length": table.dim,
        "sse.vocab_size": rules.ids or table.rows,
        "sse.pooling": "mean",
        "sse.normalize": model.normalization is not None,
        "sse.max_length": truncation.max_length or 0,
        **{key: value for key, value in optional.items() if value is not None},
        TOKENIZER_KEY: model.tokenizer_json.read(),
    }
