"""What code for sentence-transformers calls and passes, without torch (see tests/compat for it)."""

from __future__ import annotations

import copy
import json
import pickle
import shutil
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from bits import assert_same_bits
from compat_cases import (
    DIM,
    PROMPTS,
    TEXTS,
    encoder_fixture,  # noqa: F401
    folder_fixture,  # noqa: F401
)
from tiny_models import TOKENIZER

from nibblevec import Encoder

without_torch = pytest.mark.skipif("torch" in sys.modules, reason="torch has been imported")


# The constructor


@pytest.mark.parametrize(
    "options",
    [
        {"device": None},
        {"device": "cpu"},
        {"device": "cpu:0"},
        {"trust_remote_code": True},
        {"modules": []},
        {"use_auth_token": False},
        {"use_auth_token": "secret", "token": "secret"},
        {"model_kwargs": {}},
        {"model_kwargs": {"dtype": "float32", "torch_dtype": "auto", "device_map": "cpu"}},
        {
            "processor_kwargs": {},
            "tokenizer_kwargs": None,
            "config_kwargs": {},
            "model_card_data": None,
        },
        {"backend": "torch"},
    ],
    ids=str,
)
def test_arguments_that_ask_for_what_is_done_anyway(folder: Path, options: Any) -> None:
    assert_same_bits(Encoder(folder, **options).encode(TEXTS), Encoder(folder).encode(TEXTS))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"modules": ["a module"]}, "^modules is not taken: a model is loaded whole"),
        ({"use_auth_token": "secret"}, "^use_auth_token is not taken: give the token as token"),
        ({"use_auth_token": True, "token": "a"}, "^use_auth_token is not taken"),
        ({"model_kwargs": {"dtype": "float16"}}, "'dtype': 'float16' is not done.*precision"),
        ({"model_kwargs": {"device_map": "cuda"}}, "'device_map': 'cuda' is not done"),
        ({"model_kwargs": {"attn_implementation": "sdpa"}}, "'attn_implementation'"),
        ({"tokenizer_kwargs": {"max_length": 8}}, "^tokenizer_kwargs is .* max_seq_length cuts"),
        ({"processor_kwargs": {"max_length": 8}}, "^processor_kwargs is .* max_seq_length cuts"),
        ({"config_kwargs": {"a": 1}}, "^config_kwargs is not taken: there is no config"),
        ({"model_card_data": SimpleNamespace()}, "^model_card_data is not taken: no model card"),
        ({"backend": "onnx"}, "^backend 'onnx' is not there: kernels of nibblevec's own"),
    ],
    ids=str,
)
def test_arguments_that_ask_for_what_is_not_done(folder: Path, options: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Encoder(folder, **options)


DEVICE_CALLS: list[Callable[[Path, Any], object]] = [
    lambda folder, device: Encoder(folder, device=device),
    lambda folder, device: Encoder(folder).encode(TEXTS, device=device),
    lambda folder, device: Encoder(folder).to(device),
    lambda folder, device: Encoder(folder).start_multi_process_pool(
        device if isinstance(device, list) else [device]
    ),
]


@pytest.mark.parametrize("device", ["cuda", "cuda:1", "mps", 0, ["cpu", "cuda:0", "cuda:1"]])
@pytest.mark.parametrize("call", DEVICE_CALLS)
def test_a_device_that_is_not_used_gives_one_warning(
    folder: Path, call: Callable[[Path, Any], object], device: Any
) -> None:
    named = "cuda:0" if isinstance(device, list) else str(device)
    with pytest.warns(UserWarning, match=f"runs on the CPU.*: {named} is not used") as caught:
        call(folder, device)
    assert [warning.filename for warning in caught] == [__file__]


@pytest.mark.parametrize("device", [None, "cpu", "cpu:3", ["cpu", "cpu"], []])
@pytest.mark.parametrize("call", DEVICE_CALLS)
def test_the_cpu_gives_no_warning(
    folder: Path, call: Callable[[Path, Any], object], device: Any
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        call(folder, device)


# Prompts


def test_prompts_of_queries_and_documents(encoder: Encoder) -> None:
    def with_prompt(prompt: str) -> bytes:
        return encoder.encode([prompt + text for text in TEXTS]).tobytes()

    assert encoder.encode_query(TEXTS).tobytes() == with_prompt("tea is ")
    assert encoder.encode_query(TEXTS, "other").tobytes() == with_prompt("un")
    assert encoder.encode_query(TEXTS, prompt="a ").tobytes() == with_prompt("a ")
    # "document" comes before "passage", and every model has it.
    assert encoder.encode_document(TEXTS).tobytes() == with_prompt("")
    encoder.prompts = {"corpus": "a ", "passage": "the market "}
    assert encoder.encode_document(TEXTS).tobytes() == with_prompt("the market ")
    assert encoder.encode_query(TEXTS).tobytes() == with_prompt("")
    del encoder.prompts["passage"]
    assert encoder.encode_document(TEXTS).tobytes() == with_prompt("a ")
    encoder.prompts = {}
    assert encoder.encode_document(TEXTS).tobytes() == with_prompt("")
    with pytest.raises(ValueError, match="no prompt has the name 'query'"):
        encoder.encode_query(TEXTS, prompt_name="query")


def test_the_default_prompt_is_for_encode_alone(folder: Path) -> None:
    encoder = Encoder(folder, prompts=PROMPTS, default_prompt_name="other")
    plain = Encoder(folder)
    assert_same_bits(encoder.encode(["able"]), plain.encode(["unable"]))
    assert_same_bits(encoder.encode_document(["able"]), plain.encode(["able"]))
    assert_same_bits(encoder.encode_query(["hot"]), plain.encode(["tea is hot"]))
    encoder.default_prompt_name = None
    assert_same_bits(encoder.encode(["able"]), plain.encode(["able"]))
    with pytest.raises(ValueError, match="no prompt has the name 'nothing'"):
        encoder.default_prompt_name = "nothing"
    assert encoder.default_prompt_name is None


def test_prompts_that_are_none(folder: Path) -> None:
    saved = Encoder(folder, prompts={"query": "tea ", "other": None})
    assert saved.prompts == {"query": "tea ", "document": "", "other": ""}
    assert Encoder(folder, prompts={"query": None}).prompts["query"] == ""


def test_prompts_that_are_gone(folder: Path, tmp_path: Path) -> None:
    """As in sentence-transformers a prompt that is None is none, and so is a default without."""
    encoder = Encoder(folder, prompts=PROMPTS, default_prompt_name="other")
    plain = Encoder(folder)
    encoder.prompts["query"] = None  # type: ignore[assignment]
    assert_same_bits(encoder.encode_query(TEXTS), plain.encode(TEXTS))
    del encoder.prompts["other"]
    assert_same_bits(encoder.encode(TEXTS), plain.encode(TEXTS))
    assert_same_bits(pickle.loads(pickle.dumps(encoder)).encode(TEXTS), plain.encode(TEXTS))
    with pytest.raises(ValueError, match="no prompt has the name 'other'"):
        encoder.encode(TEXTS, "other")
    encoder.save_pretrained(tmp_path / "model")
    again = Encoder(tmp_path / "model")
    assert again.default_prompt_name is None
    assert again.prompts == {"query": "", "document": "", "passage": "the market "}
    again.default_prompt_name = "query"  # an empty prompt, which every model has
    again.save_pretrained(tmp_path / "model")
    assert Encoder(tmp_path / "model").default_prompt_name == "query"


@pytest.mark.parametrize(
    "copied", [copy.copy, copy.deepcopy, lambda e: pickle.loads(pickle.dumps(e))]
)
def test_copies_have_the_prompts_that_were_set(
    folder: Path, tmp_path: Path, copied: Callable[[Encoder], Encoder]
) -> None:
    """Not those that the model brings, which the constructor would add again."""
    told = tmp_path / "told"
    Encoder(folder, prompts=PROMPTS, default_prompt_name="other").save_pretrained(told)
    for prompts in ({}, {"query": "a ", "corpus": "cup "}, {"other": "able "}):
        encoder = Encoder(told)
        encoder.prompts = dict(prompts)
        encoder.default_prompt_name = None
        twin = copied(encoder)
        assert (twin.prompts, twin.default_prompt_name) == (prompts, None)
        assert_same_bits(twin.encode(["able"]), Encoder(folder).encode(["able"]))
        assert_same_bits(twin.encode_query(TEXTS), encoder.encode_query(TEXTS))
        twin.prompts["new"] = "tea"
        assert encoder.prompts == prompts


def test_queries_take_what_encode_takes(encoder: Encoder) -> None:
    for method in (encoder.encode_query, encoder.encode_document):
        vectors = method(
            *(TEXTS, None, "a ", 8, False, "sentence_embedding", "ubinary"),
            *(True, False, "cpu", True, 9),
        )
        assert (vectors.dtype, vectors.shape) == (np.uint8, (3, 2))
        assert method(sentences=TEXTS, threads=1).shape == (3, DIM)
        with pytest.raises(TypeError, match="precisionn"):
            method(TEXTS, precisionn="int8")  # type: ignore[call-arg]
        with pytest.raises(TypeError, match="not NoneType"):
            method()


# Pools, and the rest


def test_pools_are_stand_ins(encoder: Encoder) -> None:
    pool = encoder.start_multi_process_pool()
    expected = encoder.encode(TEXTS, normalize_embeddings=True, truncate_dim=8)
    options: Any = {"normalize_embeddings": True, "truncate_dim": 8, "chunk_size": 2}
    assert_same_bits(encoder.encode(TEXTS, pool=pool, **options), expected)
    assert_same_bits(encoder.encode_multi_process(TEXTS, pool, **options), expected)
    with_prompt = encoder.encode_multi_process(TEXTS, pool, "query", precision="binary")
    assert np.array_equal(with_prompt, encoder.encode_query(TEXTS, precision="binary"))
    encoder.stop_multi_process_pool(pool)
    Encoder.stop_multi_process_pool(pool)
    # What sentence-transformers' own method does, which LangChain calls with a pool of ours.
    assert pool["processes"] == []
    pool["input"].cancel_join_thread()
    pool["input"].close()
    pool["output"].close()


def test_truncate_embeddings(encoder: Encoder) -> None:
    assert encoder.truncate_dim is None
    with encoder.truncate_embeddings(8):
        assert encoder.truncate_dim == encoder.get_embedding_dimension() == 8
        assert encoder.get_sentence_embedding_dimension() == 8
        assert encoder.encode(TEXTS).shape == (3, 8)
        with encoder.truncate_embeddings(None):
            assert encoder.encode("tea").shape == (DIM,)
        assert encoder.encode("tea").shape == (8,)
    assert encoder.truncate_dim is None
    with pytest.raises(RuntimeError, match="out of it"), encoder.truncate_embeddings(8):
        raise RuntimeError("out of it")
    assert encoder.encode("tea").shape == (DIM,)
    for dims in (0, DIM + 1):
        with pytest.raises(ValueError, match=rf"truncate_dim {dims} is not in 1\.\.30"):
            encoder.truncate_dim = dims
        with (
            pytest.raises(ValueError, match=rf"truncate_dim {dims} is not in"),
            encoder.truncate_embeddings(dims),
        ):
            pass
    assert encoder.truncate_dim is None


@pytest.mark.parametrize("dims", [None, 5])
def test_truncate_dim_is_pickled(encoder: Encoder, dims: int | None) -> None:
    encoder.truncate_dim = dims
    twin = pickle.loads(pickle.dumps(encoder))
    assert twin.truncate_dim == dims
    assert_same_bits(twin.encode(TEXTS), encoder.encode(TEXTS))
    assert copy.deepcopy(encoder).truncate_dim == dims


@pytest.mark.parametrize("name", ["cosine", "dot"])
def test_how_vectors_are_compared_is_saved(folder: Path, tmp_path: Path, name: Any) -> None:
    Encoder(folder, similarity_fn_name=name).save_pretrained(tmp_path / "model")
    assert Encoder(tmp_path / "model").similarity_fn_name == name
    settings = tmp_path / "model" / "config_sentence_transformers.json"
    assert settings.exists() == (name == "dot")
    # What it was is told again, though it is the default.
    Encoder(tmp_path / "model", similarity_fn_name="cosine").save_pretrained(tmp_path / "model")
    assert Encoder(tmp_path / "model").similarity_fn_name == "cosine"


def test_the_tokenizer_is_read_once(folder: Path, tmp_path: Path) -> None:
    padded = shutil.copytree(folder, tmp_path / "model") / TOKENIZER
    content = json.loads(padded.read_text())
    content["padding"] = {
        **{"strategy": {"Fixed": 9}, "direction": "Right", "pad_to_multiple_of": None},
        **{"pad_id": 0, "pad_type_id": 0, "pad_token": "[PAD]"},
    }
    padded.write_text(json.dumps(content))
    encoder = Encoder(padded.parent)
    tokenizer = encoder.tokenizer
    assert encoder.tokenizer is tokenizer
    encodings = tokenizer.encode_batch(TEXTS, add_special_tokens=False)
    ids, offsets = encoder.tokenize(TEXTS)
    assert [len(encoding.ids) for encoding in encodings] == np.diff(offsets).tolist()
    tokenizer.enable_truncation(1)  # the caller's own affair
    assert np.array_equal(encoder.tokenize(TEXTS)[0], ids)
    assert copy.deepcopy(encoder).tokenizer.truncation is None


def test_max_seq_length_by_its_older_name(encoder: Encoder) -> None:
    assert encoder.get_max_seq_length() is None
    encoder.max_seq_length = 5
    assert encoder.get_max_seq_length() == 5


def test_preprocess_takes_a_prompt(encoder: Encoder) -> None:
    for prompt in (None, "", "the market "):
        ours = encoder.preprocess(TEXTS, prompt=prompt)
        expected = encoder.preprocess([(prompt or "") + text for text in TEXTS])
        assert {name: array.tolist() for name, array in ours.items()} == {
            name: array.tolist() for name, array in expected.items()
        }


@without_torch
def test_the_device_is_the_cpu(encoder: Encoder) -> None:
    assert encoder.device == "cpu"
    assert encoder.to("cpu") is encoder
    assert encoder.eval() is encoder


def test_the_model_goes_nowhere(encoder: Encoder) -> None:
    assert encoder.cpu() is encoder
    with pytest.warns(UserWarning, match="runs on the CPU.*: cuda:1 is not used") as caught:
        assert encoder.cuda(1) is encoder
    assert [warning.filename for warning in caught] == [__file__]
    assert encoder.to("cpu", "float32") is encoder
    assert encoder.to(dtype="torch.float32") is encoder
    for numbers in ("torch.float16", "torch.bfloat16", "float64"):
        with pytest.raises(ValueError, match=f"{numbers} is not done: vectors are float32"):
            encoder.to(dtype=numbers)


def test_an_evaluator_is_called_with_the_model(encoder: Encoder, tmp_path: Path) -> None:
    def evaluator(model: Encoder, output_path: str | None) -> Any:
        return model, output_path

    assert encoder.evaluate(evaluator) == (encoder, None)
    path = str(tmp_path / "a" / "b")
    assert encoder.evaluate(evaluator, path) == (encoder, path)
    assert (tmp_path / "a" / "b").is_dir()


def test_saving_takes_the_arguments_of_sentence_transformers(
    encoder: Encoder, tmp_path: Path
) -> None:
    arguments: Any = ("a name", True, ["a dataset"], True)
    for number, save in enumerate((encoder.save, encoder.save_pretrained)):
        save(tmp_path / f"{number}", *arguments)
        save(tmp_path / f"{number} by name", safe_serialization=True, create_model_card=False)
        for name in (f"{number}", f"{number} by name"):
            assert_same_bits(Encoder(tmp_path / name).encode(TEXTS), encoder.encode(TEXTS))
        with pytest.raises(ValueError, match="safe_serialization is True always"):
            save(tmp_path / "pickled", safe_serialization=False)
    assert not (tmp_path / "pickled").exists()


def test_truncate_embeddings_by_its_older_name(encoder: Encoder) -> None:
    with encoder.truncate_sentence_embeddings(8):
        assert encoder.encode("tea").shape == (8,)
    assert encoder.encode("tea").shape == (DIM,)


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("half", "precision='float16'"),
        ("bfloat16", "precision='float16'"),
        ("push_to_hub", "save_pretrained writes"),
        ("save_to_hub", "save_pretrained writes"),
        ("parameters", "no modules of torch"),
        ("forward", "no modules of torch"),
        ("fit", "no modules of torch"),
        ("train", "no modules of torch"),
        ("nothing", "^'Encoder' object has no attribute 'nothing'$"),
    ],
)
def test_what_is_not_there_says_what_is(encoder: Encoder, name: str, advice: str) -> None:
    assert not hasattr(encoder, name)
    with pytest.raises(AttributeError, match=f"has no attribute '{name}'") as caught:
        getattr(encoder, name)
    assert caught.match(advice)
    assert (caught.value.name, caught.value.obj) == (name, encoder)


def test_measures_of_evaluators_are_kept(encoder: Encoder, folder: Path) -> None:
    card = encoder.model_card_data
    assert card.base_model == str(folder)
    assert Encoder().model_card_data.base_model == "nibblevec-en-512"
    card.set_evaluation_metrics("evaluator", {"ndcg": 0.5}, 1, 20)
    card.set_evaluation_metrics("evaluator", {"ndcg": 0.6}, epoch=2, step=40)
    assert card.eval_results_dict == {"evaluator": {"ndcg": 0.6}}


class InAnotherOrder(Encoder):
    """Takes names only, has other defaults, and is asked for what it knows."""

    seen: dict[str, Any]

    def encode(self, inputs: Any, *, normalize_embeddings: bool = True, **options: Any) -> Any:  # type: ignore[override]
        self.seen = {"inputs": inputs, "normalize_embeddings": normalize_embeddings, **options}
        return super().encode(inputs, normalize_embeddings=normalize_embeddings, **options)

    def save_pretrained(self, path: Any, *, create_model_card: bool = False, **_: Any) -> None:  # type: ignore[override]
        self.seen = {"create_model_card": create_model_card}
        super().save_pretrained(path)


def test_a_subclass_gets_arguments_by_name(folder: Path, tmp_path: Path) -> None:
    encoder = InAnotherOrder(folder, prompts={"query": "tea "})
    plain = Encoder(folder, prompts={"query": "tea "})
    assert_same_bits(
        encoder.encode_query(TEXTS), plain.encode_query(TEXTS, normalize_embeddings=True)
    )
    assert encoder.seen == {"inputs": TEXTS, "normalize_embeddings": True, "prompt_name": "query"}
    encoder.encode_document(TEXTS, None, "cup ", 8, False, "sentence_embedding", "float16")
    assert encoder.seen == {
        "inputs": TEXTS,
        "normalize_embeddings": True,
        "prompt": "cup ",
        "batch_size": 8,
        "show_progress_bar": False,
        "output_value": "sentence_embedding",
        "precision": "float16",
    }
    pool = encoder.start_multi_process_pool()
    vectors = encoder.encode_multi_process(TEXTS, pool, None, "cup ", 8)
    assert_same_bits(vectors, plain.encode(TEXTS, prompt="cup "))
    encoder.save(tmp_path / "model", "a name", True)
    assert encoder.seen == {"create_model_card": True}


def test_arguments_without_a_name_that_are_too_many(encoder: Encoder) -> None:
    for call in (encoder.encode_query, encoder.encode_document):
        with pytest.raises(TypeError, match="12 arguments without a name, expected at most 11"):
            call(TEXTS, None, None, *[None] * 12)
        with pytest.raises(TypeError, match="argument 'batch_size' is given twice"):
            call(TEXTS, None, None, 8, batch_size=8)
    with pytest.raises(TypeError, match="5 arguments without a name"):
        encoder.save("model", None, True, None, True, None)
