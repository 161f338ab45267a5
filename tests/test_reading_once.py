"""Every file of a model is opened and parsed once; so is what was written, which is loaded."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from conversion_cases import MAPPING, MODEL2VEC_RULES, SETTINGS, plain_model, sse_model

from nibblevec import Encoder
from nibblevec._containers import files, json_files
from nibblevec._layouts import gguf
from nibblevec._layouts.conversion import ConversionError, convert
from nibblevec._layouts.loading import load_model
from nibblevec._layouts.registry import LAYOUTS
from nibblevec._layouts.saving import save_model, save_unchanged
from nibblevec._layouts.tokenizers import ModelTokenizer, load_tokenizer_of
from nibblevec._model import Model

# A model that each layout has a place for.
MODELS = {
    "sse": sse_model("sse_q4", **SETTINGS),
    "static": plain_model(normalization="torch", **SETTINGS),
    "model2vec": plain_model(
        normalization="model2vec", token_rules=MODEL2VEC_RULES._replace(row_of_id=MAPPING)
    ),
    "gguf": sse_model("q4_k", **SETTINGS),
    "bare": plain_model(),
    "float SSE": sse_model("float16"),
}

# Each is written in its own layout and as GGUF.
CONVERSIONS = [
    *(("sse", "sse"), ("static", "static"), ("model2vec", "model2vec"), ("gguf", "sse")),
    *(("bare", "static"), ("float SSE", "sse"), *((name, "gguf") for name in MODELS)),
]


@pytest.fixture
def counts(monkeypatch: pytest.MonkeyPatch) -> Counter[tuple[str, str]]:
    counts: Counter[tuple[str, str]] = Counter()
    open_regular, parse = files._open_regular, json_files._parse_json

    def counted_open(path: str) -> int:
        counts["opened", path] += 1
        return open_regular(path)

    def counted_parse(data: bytes, path: str, field: str) -> Any:
        counts["parsed", path] += 1
        return parse(data, path, field)

    def beginning(path: str, count: int) -> bytes:
        return Path(path).read_bytes()[:count]

    monkeypatch.setattr(files, "_open_regular", counted_open)
    # Not counted: four bytes tell a GGUF file that is not called so, as while it is written.
    monkeypatch.setattr(gguf, "read_beginning", beginning)
    monkeypatch.setattr(json_files, "_parse_json", counted_parse)
    return counts


def saved(name: str, folder: Path) -> Path:
    """A model on disk, with all files that its layout may have."""
    path = folder / ("model.gguf" if name == "gguf" else "model")
    layout = {"bare": "static", "float SSE": "sse"}.get(name, name)
    save_model(MODELS[name], str(path), layout)
    if name == "bare":
        (path / "modules.json").unlink()
    if name == "static":
        (path / "1_Normalize").mkdir()
        (path / "1_Normalize" / "config.json").write_text("{}", encoding="utf-8")
    return path


def assert_once(counts: Counter[tuple[str, str]]) -> None:
    assert counts
    assert {what: count for what, count in counts.items() if count > 1} == {}


def test_there_is_a_model_of_each_layout() -> None:
    assert {layout.name for layout in LAYOUTS} <= set(MODELS)


@pytest.mark.parametrize("name", MODELS)
def test_loading(tmp_path: Path, counts: Counter[tuple[str, str]], name: str) -> None:
    path = saved(name, tmp_path)
    counts.clear()
    load_tokenizer_of(load_model(path))
    assert_once(counts)
    there = {str(file) for file in (path, *path.rglob("*")) if file.is_file()}
    assert {file for what, file in counts if what == "opened"} == there


@pytest.mark.parametrize(("name", "layout"), CONVERSIONS)
def test_converting(
    tmp_path: Path, counts: Counter[tuple[str, str]], name: str, layout: str
) -> None:
    path = saved(name, tmp_path)
    counts.clear()
    convert(load_model(path), str(tmp_path / ("out.gguf" if layout == "gguf" else "out")), layout)
    assert_once(counts)
    tokenizer_json = path if path.is_file() else path / "tokenizer.json"
    assert counts["parsed", str(tokenizer_json)] == 1


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.filterwarnings("ignore:.* become :UserWarning")
def test_saving(tmp_path: Path, counts: Counter[tuple[str, str]], name: str) -> None:
    model = load_model(saved(name, tmp_path))
    counts.clear()
    save_unchanged(model, str(tmp_path / "again"))
    assert_once(counts)


def test_an_encoder_parses_only_what_it_wrote(
    tmp_path: Path, counts: Counter[tuple[str, str]]
) -> None:
    encoder = Encoder(saved("sse", tmp_path))
    counts.clear()
    encoder.save_pretrained(str(tmp_path / "again"))
    assert_once(counts)
    assert not any(Path(file).parent == tmp_path / "model" for _, file in counts)


def test_settings_and_tokenizer_are_of_one_parsing(counts: Counter[tuple[str, str]]) -> None:
    tokenizer = ModelTokenizer(MODELS["sse"])
    counts.clear()
    assert tokenizer.loaded is tokenizer.loaded
    assert "vocab" not in tokenizer.settings["model"]
    assert list(counts.values()) == [1]


@pytest.mark.parametrize(
    ("arguments", "argument", "message"),
    [
        ({"layout": "gguf", "out": "out"}, "out", "a GGUF file must end in .gguf"),
        ({"layout": "sse", "out": "out.GGUF"}, "out", "only a GGUF file may end in .gguf"),
        ({"name": "tea"}, "name", "only a GGUF file has a place for it"),
        ({"license": "mit"}, "license", "only a GGUF file has a place for it"),
        (
            {"row_format": "q4_k"},
            "row_format",
            "sse holds sse_q4, float32, float16, bfloat16, not q4_k",
        ),
    ],
)
def test_arguments_that_do_not_go_together(
    tmp_path: Path, arguments: dict[str, str], argument: str, message: str
) -> None:
    options: dict[str, Any] = {"out": "out", **arguments}
    out = tmp_path / options.pop("out")
    source: Model = MODELS["sse"]
    with pytest.raises(ConversionError) as caught:
        convert(source, str(out), **options)
    assert (caught.value.argument, str(caught.value)) == (argument, message)
    assert not out.exists()
