"""Evaluators and utilities of sentence-transformers on our `Encoder`, and its model card's code."""

from __future__ import annotations

import io
import random
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
import tokenizers
import torch
from sentence_transformers import SentenceTransformer, util
from sentence_transformers.sentence_transformer import evaluation
from sentence_transformers.sentence_transformer.modules import StaticEmbedding

from compat.english_lines import english_lines
from nibblevec import Encoder
from nibblevec._bundled import BUNDLED_MODEL
from nibblevec._layouts.loading import load_model

# The same vectors, bit for bit; with a head, whose tanh is torch's or ours, nearly the same.
STATIC_TOLERANCE = 0
DYT_TOLERANCE = 1e-4

PROMPTS = {"query": "find: ", "document": "note: "}


class DynamicTanh(torch.nn.Module):  # type: ignore[misc]
    """The published head, as a module of sentence-transformers."""

    def __init__(self) -> None:
        super().__init__()
        tanh = load_model(BUNDLED_MODEL).dynamic_tanh
        assert tanh is not None
        self.vectors = [torch.from_numpy(v.copy()) for v in (tanh.alpha, tanh.beta, tanh.bias)]

    def forward(self, features: dict[str, Any], **_options: Any) -> dict[str, Any]:
        alpha, beta, bias = self.vectors
        features["sentence_embedding"] = beta * torch.tanh(
            alpha * features["sentence_embedding"] + bias
        )
        return features


Pair = tuple[SentenceTransformer, Encoder, float]


@pytest.fixture(scope="module", params=["static", "dyt"])
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    """sentence-transformers' model, ours, and how far their numbers may be apart."""
    tokenizer = tokenizers.Tokenizer.from_file(str(Path(BUNDLED_MODEL) / "tokenizer.json"))
    weights = load_model(BUNDLED_MODEL).table.dequantize()
    modules: list[Any] = [StaticEmbedding(tokenizer, embedding_weights=weights)]
    if request.param == "dyt":
        modules.append(DynamicTanh())
    theirs = SentenceTransformer(modules=modules, device="cpu", prompts=PROMPTS)
    if request.param == "dyt":
        return theirs, Encoder(prompts=PROMPTS), DYT_TOLERANCE
    folder = str(tmp_path_factory.mktemp("evaluators") / "model")
    theirs.save_pretrained(folder, create_model_card=False)
    return theirs, Encoder(folder), STATIC_TOLERANCE


@pytest.fixture(scope="module")
def texts() -> list[str]:
    lines = [line for line in english_lines() if 30 < len(line) < 200]
    return random.Random(4).sample(lines, 600)


def halves(text: str) -> tuple[str, str]:
    """Two texts about the same, which share a third of it."""
    words = text.split()
    return " ".join(words[: len(words) * 2 // 3]), " ".join(words[len(words) // 3 :])


def scores(count: int) -> list[float]:
    numbers: list[float] = np.random.default_rng(3).uniform(0, 1, count).tolist()
    return numbers


def retrieval(texts: list[str]) -> dict[str, Any]:
    return {
        "queries": {f"q{n}": halves(text)[0] for n, text in enumerate(texts[:100])},
        "corpus": {f"d{n}": halves(text)[1] for n, text in enumerate(texts)},
        "relevant_docs": {f"q{n}": {f"d{n}", f"d{n + 1}"} for n in range(100)},
    }


def information_retrieval(texts: list[str], **options: Any) -> Any:
    return evaluation.InformationRetrievalEvaluator(**retrieval(texts), **options)


def nano_beir(texts: list[str], **options: Any) -> Any:
    """The evaluator downloads its sets; here they are ours."""
    ours = retrieval(texts)

    class Evaluator(evaluation.NanoBEIREvaluator):  # type: ignore[misc]
        def _load_dataset_subset_split(
            self, subset: str, split: str, required_columns: list[str]
        ) -> Any:
            if subset == "qrels":
                rows = [
                    {"query-id": query, "corpus-id": document}
                    for query, documents in ours["relevant_docs"].items()
                    for document in sorted(documents)
                ]
            else:
                rows = [{"_id": name, "text": text} for name, text in ours[subset].items()]
            assert split in ("NanoMSMARCO", "NanoNQ")
            assert set(required_columns) <= set(rows[0])
            return datasets.Dataset.from_list(rows)

    return Evaluator(dataset_names=["msmarco", "nq"], **options)


def embedding_similarity(texts: list[str], **options: Any) -> Any:
    first, second = zip(*map(halves, texts), strict=True)
    return evaluation.EmbeddingSimilarityEvaluator(
        list(first), list(second), scores(len(texts)), **options
    )


def triplet(texts: list[str], **options: Any) -> Any:
    first, second = zip(*map(halves, texts), strict=True)
    return evaluation.TripletEvaluator(
        list(first), list(second), list(second[7:] + second[:7]), **options
    )


def binary_classification(texts: list[str], **options: Any) -> Any:
    pairs = [*map(halves, texts[:300]), *zip(texts[300:450], texts[450:], strict=True)]
    first, second = zip(*pairs, strict=True)
    labels = [1] * 300 + [0] * 150
    return evaluation.BinaryClassificationEvaluator(list(first), list(second), labels, **options)


def reranking(texts: list[str], **options: Any) -> Any:
    samples = [
        {"query": halves(text)[0], "positive": [halves(text)[1]], "negative": texts[n + 1 : n + 20]}
        for n, text in enumerate(texts[:80])
    ]
    return evaluation.RerankingEvaluator(samples, **options)


def translation(texts: list[str], **options: Any) -> Any:
    first, second = zip(*map(halves, texts), strict=True)
    return evaluation.TranslationEvaluator(list(first), list(second), **options)


ALL_FUNCTIONS = ["cosine", "dot", "euclidean", "manhattan"]


@pytest.mark.parametrize(
    ("make", "options"),
    [
        (information_retrieval, {}),
        (information_retrieval, {"truncate_dim": 64}),
        (information_retrieval, {"query_prompt": "what: ", "corpus_prompt": "", "batch_size": 7}),
        (nano_beir, {}),
        (nano_beir, {"truncate_dim": 128, "query_prompts": "what: "}),
        (embedding_similarity, {"similarity_fn_names": ALL_FUNCTIONS}),
        (embedding_similarity, {}),
        (triplet, {"similarity_fn_names": ALL_FUNCTIONS}),
        (binary_classification, {"similarity_fn_names": ALL_FUNCTIONS}),
        (binary_classification, {"truncate_dim": 32}),
        (reranking, {}),
        (reranking, {"use_batched_encoding": False}),
        (translation, {}),
    ],
)
def test_evaluator(
    pair: Pair, texts: list[str], make: Callable[..., Any], options: dict[str, Any]
) -> None:
    theirs, ours, tolerance = pair
    expected = make(texts, **options)(theirs)
    evaluator = make(texts, **options)
    actual = evaluator(ours)
    assert actual.keys() == expected.keys()
    assert len(actual) >= 2
    apart = max(abs(float(actual[name]) - float(expected[name])) for name in expected)
    print(f"{make.__name__}, {options}: {len(actual)} measures, at most {apart:.2g} apart")
    assert apart <= tolerance
    # NanoBEIR keeps what it says of all sets together.
    assert ours.model_card_data.eval_results_dict[evaluator].items() <= actual.items()


@pytest.mark.parametrize("precision", ["int8", "uint8", "binary", "ubinary"])
def test_embedding_similarity_in_bits(pair: Pair, texts: list[str], precision: Any) -> None:
    """The ranges are of each call there, and stored here: bits are the same, bytes are alike."""
    theirs, ours, _ = pair
    ours.fit_ranges(texts)
    expected = embedding_similarity(texts, precision=precision)(theirs)
    actual = embedding_similarity(texts, precision=precision)(ours)
    assert actual.keys() == expected.keys()
    if "binary" in precision:
        for name, value in expected.items():
            assert abs(actual[name] - value) <= 2e-3
    exact = embedding_similarity(texts)(ours)
    assert abs(actual["spearman_cosine"] - exact["spearman_cosine"]) < 0.1


def test_paraphrase_mining(pair: Pair, texts: list[str]) -> None:
    theirs, ours, _ = pair
    sentences = [half for text in texts for half in halves(text)]
    expected = util.paraphrase_mining(theirs, sentences, top_k=5)
    actual = util.paraphrase_mining(ours, sentences, top_k=5)
    by_pair = {(first, second): score for score, first, second in expected}
    assert {(first, second) for _, first, second in actual} == set(by_pair)
    apart = max(abs(score - by_pair[first, second]) for score, first, second in actual)
    print(f"{len(actual)} pairs, at most {apart:.2g} apart")
    assert apart <= 1e-5


@pytest.mark.parametrize(
    "options", [{}, {"use_multi_process": ["cpu"]}, {"query_prompt_name": "document"}]
)
def test_mine_hard_negatives(pair: Pair, texts: list[str], options: dict[str, Any]) -> None:
    theirs, ours, _ = pair
    anchors, positives = zip(*map(halves, texts), strict=True)
    dataset = datasets.Dataset.from_dict({"anchor": anchors, "positive": positives})
    asked: dict[str, Any] = {
        "num_negatives": 3,
        "range_min": 1,
        "output_format": "labeled-list",
        "output_scores": True,
        "verbose": False,
    }
    one_process = {name: value for name, value in options.items() if name != "use_multi_process"}
    expected = util.mine_hard_negatives(dataset, theirs, **asked, **one_process)
    actual = util.mine_hard_negatives(dataset, ours, **asked, **options)
    assert actual.column_names == expected.column_names
    assert len(actual) == len(expected) > 500
    apart = 0.0
    for mine, other in zip(actual, expected, strict=True):
        assert mine["anchor"] == other["anchor"]
        assert mine["positive"] == other["positive"]
        apart = max(apart, float(np.abs(np.subtract(mine["scores"], other["scores"])).max()))
    print(f"{len(actual)} rows, scores at most {apart:.2g} apart")
    assert apart <= 1e-5


# What the card of the published model shows its users.
CARD = '''
import torch
from sentence_transformers import SentenceTransformer

model = SentenceTransformer(
    "MODEL", trust_remote_code=True, device="cuda" if torch.cuda.is_available() else "cpu"
)
sentences = ["Tea is a hot drink.", "A cup of tea.", "The stock market fell sharply."]
with torch.no_grad():
    embeddings = model.encode(
        sentences, convert_to_tensor=True, normalize_embeddings=True, batch_size=32
    )
print(embeddings.shape)
similarities = model.similarity(embeddings, embeddings)
print([[round(score, 4) for score in row] for row in similarities.tolist()])
''', '''
import torch
from sentence_transformers import SentenceTransformer

model = SentenceTransformer(
    "MODEL", trust_remote_code=True, device="cuda" if torch.cuda.is_available() else "cpu"
)
query = "What do people drink?"
sentences = ["Tea is a hot drink.", "A cup of tea.", "The stock market fell sharply."]
with torch.no_grad():
    embeddings = model.encode(
        [query] + sentences,
        convert_to_tensor=True,
        normalize_embeddings=True,
        batch_size=32,
    )
for i, score in enumerate(model.similarity(embeddings[0], embeddings[1:])[0].tolist()):
    print(f"{score:.05f}: {sentences[i]}")
'''  # fmt: skip


def printed(block: str, name: str) -> str:
    stream = io.StringIO()
    with redirect_stdout(stream):
        exec(compile(block.replace("MODEL", name), "card", "exec"), {})
    return stream.getvalue()


@pytest.mark.parametrize("block", CARD)
def test_code_of_the_model_card(block: str, tmp_path: Path) -> None:
    drop_in = block.replace(
        "from sentence_transformers import SentenceTransformer",
        "from nibblevec import Encoder as SentenceTransformer",
    )
    assert drop_in != block
    lines = printed(drop_in, BUNDLED_MODEL).splitlines()
    assert lines[0] == "torch.Size([3, 512])" or len(lines) == 3
    # On a model that both load it prints the same.
    tokenizer = tokenizers.Tokenizer.from_file(str(Path(BUNDLED_MODEL) / "tokenizer.json"))
    weights = load_model(BUNDLED_MODEL).table.dequantize()
    theirs = SentenceTransformer(
        modules=[StaticEmbedding(tokenizer, embedding_weights=weights)], device="cpu"
    )
    theirs.save_pretrained(str(tmp_path), create_model_card=False)
    assert printed(drop_in, str(tmp_path)) == printed(block, str(tmp_path))
