"""Added tokens: their ids, what is found of them, what is refused, and how long it takes."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
import tokenizers
from tiny_models import (
    TABLE,
    TOKENIZER,
    VOCABULARY,
    JsonObject,
    bpe_content,
    table_bytes,
    tokenizer_content,
    unigram_content,
    write_model,
)
from tokenizer_pairs import FLAGS, NORMALIZERS, ROWS, Pair, added_token, content_with

from nibblevec import Encoder, ModelFormatError
from nibblevec._layouts.loading import load_model
from nibblevec._token_rules import Truncation
from nibblevec._tokenization.loading import load_tokenizer
from nibblevec._tokenization.native import NativeTokenizer
from nibblevec._verification import verify

NEW = len(VOCABULARY)


def loaded(content: JsonObject, rows: int = ROWS) -> Any:
    return load_tokenizer(json.dumps(content).encode(), "file", rows)


def package_ids(content: JsonObject, text: str) -> list[int]:
    tokenizer = tokenizers.Tokenizer.from_str(json.dumps(content))
    ids: list[int] = tokenizer.encode(text, add_special_tokens=False).ids
    return ids


# Ids, whatever the file states


def with_added(*added: JsonObject, content: JsonObject | None = None) -> JsonObject:
    content = content or tokenizer_content()
    content["added_tokens"] = [*content["added_tokens"], *added]
    return content


def with_vocabulary(**ids: int) -> JsonObject:
    content = tokenizer_content()
    content["model"]["vocab"].update(ids)
    return content


CONTRADICTIONS: dict[str, tuple[JsonObject, str, bool]] = {
    "another id than in the vocabulary": (
        with_added(added_token(6, "tea")), "'tea' has the id 5, not 6", True,
    ),
    "a gap": (with_added(added_token(NEW + 3, "<n>")), f"'<n>' has the id {NEW}, not", True),
    "an id of another": (with_added(added_token(5, "<n>")), f"'<n>' has the id {NEW}, not 5", True),
    "far away": (with_added(added_token(4_000_000_000, "<n>")), "not 4000000000", True),
    "in the other order": (
        with_added(added_token(NEW + 1, "<n>"), added_token(NEW, "<m>")),
        rf"'<n>' has the id {NEW}, not {NEW + 1}, as in the tokenizers package \(and 1 more\)",
        True,
    ),
    "one id for two": (
        with_added(added_token(NEW, "<n>"), added_token(NEW, "<m>")),
        f"'<m>' has the id {NEW + 1}, not {NEW}",
        True,
    ),
    "two ids for one": (
        with_added(added_token(NEW, "<n>"), added_token(NEW + 1, "<n>")),
        f"'<n>' has the id {NEW}, not {NEW + 1}",
        True,
    ),
    "repeated with other settings": (
        with_added(added_token(NEW, "<n>"), added_token(NEW, "<n>", single_word=True)),
        "'<n>' occurs with other settings",
        False,
    ),
    "a token of the vocabulary with other settings": (
        with_added(added_token(4, "[MASK]", normalized=True)),
        r"'\[MASK\]' occurs with other settings",
        False,
    ),
    "an id twice in the vocabulary": (
        with_vocabulary(tea=6), "'tea' and 'is' have the id 6", True,
    ),
    "a new id that the vocabulary has": (
        with_added(added_token(NEW, "<n>"), content=with_vocabulary(tea=NEW)),
        f"'<n>' and 'tea' have the id {NEW}",
        False,
    ),
    "BPE": (
        with_added(added_token(7, "tea"), added_token(3, "<n>"), content=bpe_content()),
        r"'tea' has the id 8, not 7, .*\(and 1 more\)",
        False,
    ),
    "Unigram": (
        with_added(added_token(2, "_"), added_token(9, "<n>"), content=unigram_content()),
        r"'_' has the id 0, not 2, .*\(and 1 more\)",
        False,
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CONTRADICTIONS)
def test_ids_are_those_of_the_package_whatever_is_stated(case: str) -> None:
    content, message, native = CONTRADICTIONS[case]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        tokenizer = loaded(content)
    assert [warning.category for warning in caught] == [UserWarning]
    assert str(caught[0].message).startswith("file: ")
    with pytest.warns(UserWarning, match=message):
        loaded(content)
    assert isinstance(tokenizer, NativeTokenizer) is native
    for text in ("a cup of tea<n>", "tea <m><n> <x", "[MASK] <n>is", "_tea <n>x"):
        found = tokenizer.encode_batch((text,), tokenizer.truncation).ids.tolist()
        assert found == package_ids(content, text)


@pytest.mark.parametrize(
    "added",
    [
        [added_token(5, "tea")],
        [added_token(NEW, "<n>"), added_token(NEW, "<n>")],
        [added_token(9, ""), added_token(NEW, "<n>")],
        [],
    ],
    ids=["restated", "repeated as it is", "empty", "none"],
)
def test_no_warning_where_nothing_is_contradicted(added: list[JsonObject]) -> None:
    content = with_added(*added)
    assert isinstance(loaded(content), NativeTokenizer)  # a warning is an error here
    Pair(content).check(["tea <n> [MASK]", "<n>tea"])


def test_vocabulary_with_gaps_that_lacks_added_tokens() -> None:
    # Versions of `tokenizers` number them differently, so the installed one does.
    content = with_added(added_token(0, "b "), added_token(0, "<n>"), added_token(0, "<m>"))
    content["model"]["vocab"] = {
        "[UNK]": 0,
        "b": 1,
        "tea": 30,
        **dict(zip(VOCABULARY[:5], (0, 7, 8, 9, 10), strict=True)),
    }
    with pytest.warns(UserWarning, match="has the id 7, not 1"):
        tokenizer = loaded(content)
    assert "have gaps" in tokenizer.path_taken
    for text in ("tea <n> <m> b b ", "[MASK]<m>"):
        found = tokenizer.encode_batch((text,), tokenizer.truncation).ids.tolist()
        assert found == package_ids(content, text)


def test_one_warning_a_load(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "model")
    content = with_added(added_token(NEW + 3, "<n>"), added_token(6, "tea"))
    (folder / TOKENIZER).write_text(json.dumps(content))
    (folder / TABLE).write_bytes(table_bytes(NEW + 1, 30))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        encoder = Encoder(folder)
        vectors = encoder.encode(["tea <n>", "is"])
        encoder.tokenizer.encode("tea")
        encoder.save_pretrained(tmp_path / "copy")
        verify(load_model(str(folder)), load_model(str(folder)), ["tea <n>", "is"])
    assert len([w for w in caught if str(w.message).startswith(str(folder))]) == 2  # and `verify`
    assert len(caught) == 2
    assert caught[0].filename == __file__
    with pytest.warns(UserWarning, match=f"copy.*'<n>' has the id {NEW}, not {NEW + 3}"):
        again = Encoder(tmp_path / "copy")
    assert (again.encode(["tea <n>", "is"]) == vectors).all()


def test_table_that_ends_before_the_ids_in_use(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "model")
    content = with_added(added_token(6, "<n>"))
    (folder / TOKENIZER).write_text(json.dumps(content))
    with pytest.raises(ModelFormatError, match=f"{NEW} rows, expected {NEW + 1}, one for each"):
        Encoder(folder)
    with pytest.raises(
        ModelFormatError, match=rf"id {NEW} of '<n>', expected one of 0\.\.{NEW - 1}"
    ):
        loaded(content, NEW)


# Chance


ALIKE = [("Né", "ne"), ("İ", "i̇"), ("<A>", "<\u200da>"), ("B", "b"), ("x\ty", "X y")]
LOWERCASE = {"type": "Lowercase"}
WITH_NORMALIZERS: dict[str, Callable[[], JsonObject]] = {
    "native": tokenizer_content,
    "BPE": lambda: bpe_content() | {"normalizer": LOWERCASE},
    "Unigram": lambda: unigram_content() | {"normalizer": {
        "type": "Sequence", "normalizers": [{"type": "NFKC"}, LOWERCASE]}},
    "WordPiece": lambda: tokenizer_content() | {"normalizer": LOWERCASE},
    "WordLevel": lambda: tokenizer_content() | {"model": {
        "type": "WordLevel", "unk_token": "[UNK]",
        "vocab": tokenizer_content()["model"]["vocab"]}},
}  # fmt: skip


@pytest.mark.malformed
@pytest.mark.parametrize("kind", WITH_NORMALIZERS)
@pytest.mark.parametrize("special", [False, True])
def test_added_tokens_that_are_normalized_alike(kind: str, special: bool) -> None:
    content = WITH_NORMALIZERS[kind]()
    content["added_tokens"] += [
        added_token(NEW + i, token, normalized=True, special=special)
        for i, token in enumerate(["<USER>", "<user>"])
    ]
    for _ in range(4):  # at each load the package chooses anew
        with pytest.raises(ModelFormatError, match="'<USER>' and '<user>' are both") as caught:
            loaded(content)
        assert (caught.value.path, caught.value.field) == ("file", "added_tokens")
    content["added_tokens"][-1]["normalized"] = False
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tokenizer = loaded(content)
    found = tokenizer.encode_batch(("<user> <USER>",), tokenizer.truncation).ids.tolist()
    assert found == package_ids(content, "<user> <USER>")


@pytest.mark.malformed
@pytest.mark.parametrize("tokens", ALIKE)
def test_more_that_are_normalized_alike(tokens: tuple[str, str]) -> None:
    added = [added_token(NEW + i, token, normalized=True) for i, token in enumerate(tokens)]
    with pytest.raises(ModelFormatError, match="are both normalized to"):
        loaded(with_added(*added))


@pytest.mark.malformed
@pytest.mark.parametrize("token", ["\u200d", "\u0301", "\0\u0301\u200d", "\ufeff"])
@pytest.mark.parametrize("kind", ["native", "package"])
def test_added_token_that_is_normalized_to_nothing(kind: str, token: str) -> None:
    content = with_added(added_token(NEW, token, normalized=True))
    if kind == "package":
        content["pre_tokenizer"] = {"type": "Whitespace"}
    with pytest.raises(ModelFormatError, match="is normalized to nothing") as caught:
        loaded(content)
    assert (caught.value.path, caught.value.field) == ("file", "added_tokens")
    content["added_tokens"][-1]["normalized"] = False  # looked for as it is
    tokenizer = loaded(content)
    found = tokenizer.encode_batch((f"tea{token} cup",), tokenizer.truncation).ids.tolist()
    assert found == package_ids(content, f"tea{token} cup")


@pytest.mark.malformed
@pytest.mark.parametrize("dropout", [0.1, 0.5, 1e-6])
def test_merges_that_are_dropped_at_random(dropout: float) -> None:
    content = bpe_content()
    content["model"]["dropout"] = dropout
    with pytest.raises(ModelFormatError, match="with which ids are random") as caught:
        loaded(content)
    assert (caught.value.path, caught.value.field) == ("file", "model.dropout")
    for certain in (None, 0.0, 1.0):
        content["model"]["dropout"] = certain
        tokenizer = loaded(content)
        found = tokenizer.encode_batch(("tea cup",), tokenizer.truncation).ids.tolist()
        assert found == package_ids(content, "tea cup")


# What is found, of tokens of all lengths


def long_and_short(choose: random.Random) -> tuple[list[str], str]:
    """Contents that begin, end and repeat alike, around the lengths where matching changes ways."""
    alphabet = choose.choice(["ab", "[]x", "abé ", "aÉ中\u0301 ", "ab\t ", "<x>é\U0001f600"])
    contents: dict[str, None] = {}
    for _ in range(choose.choice([1, 2, 3, 5, 9, 30])):
        length = choose.choice([1, 1, 2, 3, 5, 20, 31, 32, 33, 34, 60, 120, 300])
        kind = choose.random()
        if kind < 0.3 or not contents:
            content = "".join(choose.choices(alphabet, k=length))
        elif kind < 0.6:
            unit = "".join(choose.choices(alphabet, k=choose.choice([1, 2, 3])))
            content = (unit * length)[:length] + choose.choice(["", choose.choice(alphabet), "x"])
        else:
            other, letter = choose.choice(list(contents)), choose.choice(alphabet)
            content = choose.choice(
                [other + letter * choose.choice([1, 2, 40]), other[1:], other[:-1],
                 other[len(other) // 2 :] + letter, letter * choose.choice([1, 35]) + other]
            )  # fmt: skip
        if content:
            contents[content] = None
    return list(contents), alphabet


@pytest.mark.parametrize("seed", range(6))
def test_random_sets_of_added_tokens(seed: int) -> None:
    choose = random.Random(seed)
    pieces = ["##" + letters * times for letters in ("a", "ab") for times in (1, 5, 16, 31, 33, 70)]
    vocabulary = ["[UNK]", *"abcx[]é中<>", "aa", "a" * 40, *pieces, "##" + "a" * 33 + "b"]
    natives = 0
    while natives < 25:
        contents, alphabet = long_and_short(choose)
        normalized = choose.choice([0, 0.5, 1])
        added = [
            added_token(
                0, content, special=choose.random() < 0.5, **{
                    flag: choose.random() < chance
                    for flag, chance in zip(FLAGS, [0.2, 0.15, 0.15, normalized], strict=True)}
            )
            for content in contents
        ]  # fmt: skip
        content = content_with(
            vocabulary, added=added, normalizer=choose.choice(NORMALIZERS),
            max_input_chars_per_word=choose.choice([5, 100, 100_000]),
        )  # fmt: skip
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of ids
            try:
                tokenizer = loaded(content)
            except ModelFormatError:  # normalized alike, or to nothing
                continue
            if not isinstance(tokenizer, NativeTokenizer):
                continue
            pair = Pair(content)
        natives += 1
        halves = [text for token in contents for text in (token[: len(token) // 2], token[:-1])]
        fragments = [*contents, *halves, *alphabet, " ", "  ", "_", "x", "\u0301", "\n\u3000", "A"]
        texts = [
            "".join(choose.choices(fragments, k=choose.choice([1, 3, 8, 20])))
            + choose.choice(contents)[: choose.choice([1, 2, 3])] * choose.choice([0, 0, 5, 200])
            for _ in range(40)
        ]
        texts.append((choose.choice(contents) * 3000)[: choose.choice([4090, 9000])] + "x")
        pair.check(texts)
        pair.check(texts, piece_characters=choose.choice([1, 2, 5, 33, 100, 500]))


def test_long_pieces_of_words() -> None:
    choose = random.Random(1)
    pieces = {
        "##" + (unit * 400)[:length] + end
        for unit in ("a", "ab", "é")
        for length in (1, 2, 30, 32, 33, 64, 400)
        for end in ("", "b", "c")
    }
    pair = Pair(content_with(["[UNK]", "a", "ab", "é", *pieces], max_input_chars_per_word=9000))
    pair.check(
        "a" + "".join(choose.choice(["a", "ab", "é", "b"]) * choose.choice([1, 30, 64, 401])
                      for _ in range(choose.choice([1, 4, 15])))
        for _ in range(300)
    )  # fmt: skip


# Time

LONG = 40_000


def with_long_pieces() -> JsonObject:
    content = tokenizer_content()
    content["model"]["vocab"] |= {"##a": NEW, "##" + "a" * LONG + "b": NEW + 1}
    content["model"]["max_input_chars_per_word"] = 1 << 20
    return content


def without_limit_of_words() -> JsonObject:
    content = tokenizer_content()
    content["model"]["max_input_chars_per_word"] = (1 << 64) - 1
    return content


def with_long_token(**flags: bool) -> JsonObject:
    return with_added(added_token(NEW, "["), added_token(NEW + 1, "[" * LONG + "x", **flags))


SLOW: dict[str, tuple[Callable[[], JsonObject], str]] = {
    "a long added token": (with_long_token, "[" * 200_000),
    "one that is normalized": (lambda: with_long_token(normalized=True), "[" * 200_000),
    "one alone": (lambda: with_added(added_token(NEW, "[" * LONG + "x")), "[" * 200_000),
    "one next to words": (
        lambda: with_added(added_token(NEW, "[" * LONG, single_word=True)), "x" + "[" * 200_000,
    ),
    "two that cross": (
        lambda: with_added(added_token(NEW, "[" * LONG + "x"),
                           added_token(NEW + 1, "[]" + "[" * LONG + "]")),
        ("[" * (LONG - 1) + "]") * 5,
    ),
    "long pieces of words": (with_long_pieces, "a" * 200_000),
    "words without limit": (without_limit_of_words, "b" * 2_000_000),
    "marks": (tokenizer_content, "a" + "\u302e\U0001d165" * 200_000),
    "marks in normalized text": (
        lambda: with_added(added_token(NEW, "<n>", normalized=True)),
        "a" + "\u302e\U0001d165" * 200_000,
    ),
    "white space around tokens": (
        lambda: with_added(added_token(NEW, "<x>", lstrip=True, rstrip=True, single_word=True)),
        (" " * 1000 + "<x>a") * 300,
    ),
}  # fmt: skip


@pytest.mark.measured
@pytest.mark.parametrize("case", SLOW)
def test_time_is_that_of_the_text(case: str) -> None:
    make, text = SLOW[case]
    content = make()
    begin = time.process_time()
    tokenizer = loaded(content)
    assert isinstance(tokenizer, NativeTokenizer)
    ids = tokenizer.encode_batch((text,), Truncation()).ids
    assert time.process_time() - begin < 1
    assert len(ids) > 0


@pytest.mark.measured
def test_time_to_load_many_added_tokens() -> None:
    content = with_added(*(added_token(NEW + i, f"<{i}>") for i in range(20_000)))
    begin = time.process_time()
    tokenizer = loaded(content)
    assert time.process_time() - begin < 2
    assert isinstance(tokenizer, NativeTokenizer)
    found = tokenizer.encode_batch(("<0><19999>",), Truncation()).ids.tolist()
    assert found == [NEW, NEW + 19_999]


class AskedToEndError(Exception):
    """Raised by a signal."""


@contextmanager
def asked_to_end_after(seconds: float) -> Iterator[list[float]]:
    """Within, `AskedToEndError` must come; how long that takes, of work, is told."""
    waited: list[float] = []
    begin = time.process_time()

    def end(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        waited.append(time.process_time() - begin - seconds)
        raise AskedToEndError

    before = signal.signal(signal.SIGPROF, end)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        with pytest.raises(AskedToEndError):
            yield waited
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


ENDLESS: dict[str, tuple[Callable[[], JsonObject], Callable[[], str]]] = {
    "a long added token": (with_long_token, lambda: "[" * 8_000_000),
    "one that is normalized": (
        lambda: with_long_token(normalized=True), lambda: "[" * 8_000_000,
    ),
    "no place to cut": (
        lambda: with_added(added_token(NEW, "<n>", normalized=True)), lambda: "<n" * 20_000_000,
    ),
    "marks": (
        lambda: with_added(added_token(NEW, "<n>", normalized=True)),
        lambda: "a" + "\u302e\U0001d165" * 5_000_000,
    ),
    "white space that goes to a token": (
        lambda: with_added(added_token(NEW, "<x>", lstrip=True, rstrip=True)),
        lambda: "\u3000" * 15_000_000 + "<x>" + "\u3000" * 15_000_000,
    ),
    "added tokens": (tokenizer_content, lambda: "[MASK] a" * 8_000_000),
}  # fmt: skip


@pytest.mark.measured
@pytest.mark.skipif(sys.platform == "win32", reason="ITIMER_PROF")
@pytest.mark.parametrize("case", ENDLESS)
@pytest.mark.parametrize("keep_end", [False, True])
def test_it_ends_when_it_is_asked_to(case: str, keep_end: bool) -> None:
    make, text_of = ENDLESS[case]
    tokenizer = loaded(make())
    text = text_of()
    truncation = Truncation(10, keep_end=True) if keep_end else Truncation()
    with asked_to_end_after(0.05) as waited:
        tokenizer.encode_batch((text,), truncation)
    assert waited[0] < 0.1


# The installed package


@pytest.mark.parametrize("version", ["1.0.0-rc.3", "1.0.0", "2.1"])
def test_a_version_of_the_package_that_is_not_supported(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, version: str
) -> None:
    monkeypatch.setattr(tokenizers, "__version__", version)
    message = rf'tokenizers {version} is installed; .*pip install "tokenizers>=0\.20,<1"'
    folder = str(write_model(tmp_path / "model"))
    encoder = Encoder()
    assert encoder.encode("tea").shape == (512,)
    with pytest.raises(ImportError, match=message):
        encoder.tokenizer  # noqa: B018
    with pytest.raises(ImportError, match=message):
        loaded(bpe_content())
    with pytest.raises(ImportError, match=message):
        verify(load_model(folder), load_model(folder), ["tea"])


@pytest.mark.parametrize("content", ["class Tokenizer: pass", "", "import no_such_module_here"])
def test_another_module_of_the_name(tmp_path: Path, content: str) -> None:
    (tmp_path / "tokenizers.py").write_text(content)
    script = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "from nibblevec import Encoder\n"
        "model = Encoder()\n"
        "model.encode('tea')\n"
        "try:\n    model.tokenizer\n"
        "except ImportError as error:\n    print(error)\n"
    )
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert 'pip install "tokenizers>=0.20,<1"' in done.stdout
    assert ("another module" in done.stdout) != ("cannot be imported" in done.stdout)


def test_errors_name_the_version_of_the_package() -> None:
    with pytest.raises(ModelFormatError, match=rf"\(in {tokenizers.__version__}\)$"):
        loaded(tokenizer_content() | {"normalizer": {"type": "Upper"}})
