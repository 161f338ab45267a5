"""What the command line reads as lines of text or JSON, and what it refuses to take for them."""

from __future__ import annotations

import bz2
import gzip
import importlib.util
import io
import json
import lzma
import os
import pickle
import shlex
import sqlite3
import struct
import subprocess
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from tiny_models import write_model

from nibblevec._cli import main
from nibblevec._io import file_kinds
from nibblevec._io.errors import InputError
from nibblevec._io.file_kinds import JSON_LINES_SUFFIXES, KINDS, is_json_lines
from nibblevec._io.json_lines import json_objects, text_under
from nibblevec._io.lines import READ_BYTES
from nibblevec._io.refusals import by_command

DIM = 30

Encode = Callable[..., Result]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("inputs") / "model", dim=DIM)


@pytest.fixture(autouse=True)
def working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def encode(model: Path) -> Encode:
    def run(*arguments: str, stdin: bytes | None = None, out: str = "out.npy") -> Result:
        arguments = ("encode", "--model", str(model), "--quiet", "-o", out, *arguments)
        return CliRunner().invoke(main, arguments, input=stdin)

    return run


def assert_refused(result: Result, code: int, *messages: str) -> None:
    """With these words, and nothing of OUT."""
    assert result.exit_code == code, result.output
    assert result.stdout == ""
    for message in messages:
        assert message in result.stderr
    assert "Traceback" not in result.stderr
    assert not any("out" in name for name in os.listdir())


def texts_of(result: Result) -> list[str]:
    assert result.exit_code == 0, result.output
    return [json.loads(line)["text"] for line in result.stdout_bytes.split(b"\n")[:-1]]


# Names


@pytest.mark.parametrize("suffix", [*JSON_LINES_SUFFIXES, ".JL", ".JsonLines"])
def test_names_of_json_lines(encode: Encode, suffix: str) -> None:
    Path("a.jsonl").write_text('{"text": "tea"}\n')
    Path("b" + suffix).write_text('{"text": "cup"}\n')
    result = encode("a.jsonl", "b" + suffix, "--column", "text", out="-")
    assert texts_of(result) == ["tea", "cup"]
    result = encode("b" + suffix, out="-")
    assert texts_of(result) == ["cup"]


def test_julia_is_not_json_lines(encode: Encode) -> None:
    Path("in.jl").write_text("println(1)\n")
    assert_refused(encode("in.jl"), 1, "in.jl, line 1: not JSON")


@pytest.mark.parametrize("suffix", [suffix for kind in KINDS for suffix in kind.suffixes])
def test_names_of_other_kinds(encode: Encode, suffix: str) -> None:
    for name in ("in" + suffix, "in.jsonl" + suffix.upper()):
        Path(name).write_text("tea\n")
        result = encode(name)
        assert_refused(result, 2, f"{name}: only files with a text a line and JSON lines")
        assert f"({suffix})" in result.stderr.lower()
        assert "if it does hold a text a line, give it a name that ends in .txt" in result.stderr
        assert "stdin" not in result.stderr
        Path(name).unlink()


def test_what_a_name_and_the_content_tell_needs_no_other_name(encode: Encode) -> None:
    Path("in.jsonl.gz").write_bytes(gzip.compress(b"{}\n"))
    assert_refused(encode("in.jsonl.gz"), 2, "(gzip -dc < in.jsonl.gz > in.jsonl)\n")


def test_a_name_that_is_only_a_suffix(encode: Encode) -> None:
    Path(".gz").write_text("tea\n")
    assert_refused(encode(".gz"), 2, ".gz: only files with")


# Languages, and what corpora of texts are called.
NAMES_OF_TEXTS = (
    *("in.pt", "in.so", "in.ps", "in.br", "in.sz", "in.sit", "in.pak", "in.doc", "in.dot", "in.z"),
    *("wiki.train.raw", "in.mat", "in.rds", "in.rda", "in.msg", "in.pages", "in.numbers", "in.db"),
    *("in.pb", "in.class", "in.bin", "in.dat", "in.har", "in.nc", "in.rtf", "in.arj"),
    *("in.lz", "in.opus", "in.ico", "in.mov", "in.elf", "in.jar", "in.dta", "in.tif", "in.spacy"),
)


@pytest.mark.parametrize(
    "name",
    [
        *("in", "in.TXT", "README.md", "in.html", "in.xml", "in.yaml", "in.csv.txt", "gz", "a.b.c"),
        *NAMES_OF_TEXTS,
    ],
)
def test_other_files_are_lines_whatever_their_name(encode: Encode, name: str) -> None:
    Path(name).write_text("<p>\n# tea\n")
    assert texts_of(encode(name, out="-")) == ["<p>", "# tea"]


@pytest.mark.parametrize(
    ("name", "way_out"),
    [
        ("in.csv", ["a table (.csv)", "DataFrame.to_json", "a name that ends in .txt"]),
        ("in.parquet", ["a table (.parquet)", "DataFrame.to_json"]),
        ("in.json", ["one JSON document (.json)", "jq -c '.[]' in.json > in.jsonl"]),
        ("in.jsonl.gz", ["a compressed file (.gz)", "gzip -dc < in.jsonl.gz > in.jsonl"]),
        ("a b.txt.zst", ["zstd -dc < 'a b.txt.zst' > 'a b.txt'"]),
        ("in.zip", ["an archive (.zip)", "unpack it first"]),
        ("in.pdf", ["a PDF document (.pdf)", "pdftotext in.pdf in.txt"]),
        ("in.docx", ["a document (.docx)", "pandoc -t plain --wrap=none -o in.txt in.docx"]),
        ("in.npy", ["a file of arrays, objects or weights (.npy)"]),
    ],
)
def test_ways_out(encode: Encode, name: str, way_out: list[str]) -> None:
    Path(name).write_text("tea\n")
    assert_refused(encode(name), 2, *way_out)


@pytest.mark.parametrize("form", ["PNG", "zip", "gzip", "PDF", "Microsoft Office", "RTF"])
def test_binary_files_are_known_by_content_whatever_their_name(encode: Encode, form: str) -> None:
    for name in NAMES_OF_TEXTS:
        Path(name).write_bytes(CONTENTS[form]())
        assert_refused(encode(name), 2, f"{name}: only files with a text a line", form)


@pytest.mark.parametrize(
    ("content", "way_out"),
    [
        (
            '{"text": "tea"}\n{"text": "cup"}\n',
            "looks like JSON lines: give it a name that ends in",
        ),
        (
            '\ufeff\n\n{"text": "tea"}\r\n',
            "looks like JSON lines: give it a name that ends in .jsonl",
        ),
        ('[{"text": "tea"}]\n', "jq -c '.[]' in.json > in.jsonl"),
        ('{\n"text": "tea"}\n', "jq -c '.[]' in.json > in.jsonl"),
        ("tea\n", "give it a name that ends in .txt"),
        ("", "give it a name that ends in .txt"),
    ],
)
def test_json_lines_named_as_a_document(
    encode: Encode, model: Path, content: str, way_out: str
) -> None:
    Path("in.json").write_text(content)
    result = encode("in.json")
    assert_refused(result, 2, way_out)
    assert ("jq" in result.stderr) is ("like JSON lines" not in way_out)
    if importlib.util.find_spec("ir_measures"):
        assert_refused(CliRunner().invoke(main, ["eval", str(model), "in.json"]), 2, way_out)


@pytest.mark.parametrize("suffix", [*JSON_LINES_SUFFIXES, ".JSONL"])
def test_ways_out_of_json_lines_lead_to_json_lines(suffix: str) -> None:
    def target(words: str) -> str:
        return shlex.split(words.partition(" > ")[2])[0].rstrip(")")

    for stem in ("in", "a b.c", "folder.d/", ""):
        path = stem + suffix
        assert is_json_lines(target(by_command("jq -c .", path)))
        assert is_json_lines(target(file_kinds.way_out(file_kinds.JSON_SEQUENCE, path)))
        for kind in file_kinds.COMPRESSED:
            for end in ("", *kind.suffixes, ".Z", ".new"):
                told = target(file_kinds.way_out(kind, path + end))
                assert is_json_lines(told)
                assert told != path + end
        for end in (".json", ".geojson", ".json-seq"):
            for kind in (file_kinds.JSON_DOCUMENT, file_kinds.JSON_SEQUENCE):
                assert is_json_lines(target(file_kinds.way_out(kind, stem + end)))
    # What is unpacked must not be taken for lines either.
    assert target(file_kinds.way_out(file_kinds.GZIP, "in.csv.Z")) == "in.csv"


def test_every_way_out_can_be_said() -> None:
    for kind in (*KINDS, file_kinds.LFS_POINTER):
        for path in (None, "a b" + (*kind.suffixes, ".txt")[0], "a.txt", "a"):
            said = file_kinds.way_out(kind, path)
            assert "{" not in said
            assert f"> {path})" not in said


# Contents


def of_zip() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a.txt", "tea\n")
    return buffer.getvalue()


def of_tar() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        member = tarfile.TarInfo("a.txt")
        member.size = 4
        archive.addfile(member, io.BytesIO(b"tea\n"))
    return buffer.getvalue()


def of_npy() -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.zeros(3))
    return buffer.getvalue()


def of_sqlite() -> bytes:
    with sqlite3.connect("x.tmp") as connection:
        connection.execute("CREATE TABLE texts (text)")
    connection.close()
    content = Path("x.tmp").read_bytes()
    Path("x.tmp").unlink()
    return content


HEADER = b'{"a":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}'
CONTENTS: dict[str, Callable[[], bytes]] = {
    "gzip": lambda: gzip.compress(b"tea\n"),
    "bzip2": lambda: bz2.compress(b"tea\n"),
    "xz": lambda: lzma.compress(b"tea\n"),
    "Zstandard": lambda: b"\x28\xb5\x2f\xfd\x04\x00\x21\x00\x00tea\n",
    "LZ4": lambda: b"\x04\x22\x4d\x18\x64\x40\xa7",
    "7z": lambda: b"7z\xbc\xaf\x27\x1c\x00\x04",
    "zip": of_zip,
    "tar": of_tar,
    "Parquet": lambda: b"PAR1\x15\x04\x15\x10\x4c\0",
    "Arrow": lambda: b"ARROW1\0\0\xff\xff\xff\xff",
    "Arrow stream": lambda: b"\xff\xff\xff\xff\x78\0\0\0",
    "Feather": lambda: b"FEA1\0\0\0\0",
    "ORC": lambda: b"ORC\x0a\x05\x08\xe0\x01",
    "Avro": lambda: b"Obj\x01\x04\x16avro.schema",
    "SQLite": of_sqlite,
    "DuckDB": lambda: b"abcdefghDUCK\x40\0\0\0",
    "HDF": lambda: b"\x89HDF\r\n\x1a\n\0",
    "PDF": lambda: b"%PDF-1.7\n1 0 obj\n",
    "RTF": lambda: b"{\\rtf1\\ansi tea}\n",
    "Microsoft Office": lambda: b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1\0",
    "NumPy": of_npy,
    "pickle": lambda: pickle.dumps(["tea"], protocol=4),
    "pickle ": lambda: pickle.dumps(["tea"], protocol=0),
    "safetensors": lambda: struct.pack("<Q", len(HEADER)) + HEADER,
    "GGUF": lambda: b"GGUF\x03\0\0\0",
    "ELF": lambda: b"\x7fELF\x02\x01\x01\0",
    "Windows": lambda: b"MZ\x90\0\x03\0\0\0",
    "PNG": lambda: b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR",
    "JPEG": lambda: b"\xff\xd8\xff\xe0\0\x10JFIF",
    "GIF": lambda: b"GIF89a\x01\0\x01\0",
    "MP4": lambda: b"\0\0\0\x18ftypmp42",
    "a pointer of Git LFS": lambda: b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
    "a JSON sequence": lambda: b'\x1e{"text": "tea"}\n',
}


@pytest.mark.parametrize("form", CONTENTS)
def test_content_of_other_kinds(encode: Encode, form: str) -> None:
    content = CONTENTS[form]()
    Path("good.txt").write_text("tea\n")
    Path("in.txt").write_bytes(content)
    Path("in.jsonl").write_bytes(content)
    for out in ("out.npy", "-"):
        # Before the first vector, though it is of another file.
        result = encode("good.txt", "in.txt", out=out)
        assert_refused(result, 2, "in.txt: only files with a text a line", form.strip())
        assert_refused(encode("in.jsonl", out=out), 2, "in.jsonl: only files with", form.strip())
        result = encode("-", stdin=content, out=out)
        assert_refused(result, 2, "stdin: only files with a text a line", form.strip())


def test_content_of_a_fifo(encode: Encode) -> None:
    if os.name != "posix":
        pytest.skip("FIFOs of POSIX")
    Path("data").write_bytes(gzip.compress(b"tea\n"))
    os.mkfifo("in.txt")
    writer = subprocess.Popen(["sh", "-c", "cat data > in.txt"])
    assert_refused(encode("in.txt"), 2, "in.txt: only files with", "gzip")
    writer.wait(timeout=60)


@pytest.mark.parametrize(
    "text",
    [
        *("PAR1 is a gene", "ARROW1", "ORC, a lady", "MZ", "BM 7", "GIF89a", "RIFF", "ID3", "BZh9"),
        *(
            "GGUF",
            "wOFF",
            "my goodDUCK",
            "abcdftyp",
            "MATLAB 5",
            "PK",
            "070701",
            "%PDF",
            "\x1b[1mtea",
        ),
        *("a\r\r\nb", "\x80 ", "\x93NUMPY"),
        *("BMW is a c\bar", "MZ\x01", "ORC\x7f\x02", "ID3\b", "RIFF\x03 \u00e9", "GIF89a\x1f"),
        "BM" + "\b\u00e9" * file_kinds.BEGINNING_BYTES,  # which ends within a character
    ],
)
def test_texts_that_begin_like_other_files(encode: Encode, text: str) -> None:
    content = text.encode() + b"\ncup\n"
    Path("in.txt").write_bytes(content)
    for arguments in (["in.txt"], ["-"]):
        assert texts_of(encode(*arguments, stdin=content, out="-"))[-1] == "cup"


# Encodings and line ends


# Not ASCII but for blanks and line ends.
RUSSIAN = "\u0447\u0430\u0439 \u0447\u0430\u0448\u043a\u0430\n" * 6


@pytest.mark.parametrize(
    ("encoding", "text", "named"),
    [
        ("utf-16", "tea\ncup\n", "UTF-16"),
        ("utf-32", "tea\ncup\n", "UTF-32"),
        ("utf-16-le", "\ufefftea\n", "UTF-16"),
        ("utf-16-be", "\ufefftea\n", "UTF-16"),
        ("utf-32-be", "\ufefftea\n", "UTF-32"),
        ("utf-16-le", "tea and a cup\nof it\n", "UTF-16LE"),
        ("utf-16-be", "tea and a cup\nof it\n", "UTF-16BE"),
        ("utf-32-le", "tea and a cup\nof it\n", "UTF-32LE"),
        ("utf-32-be", "tea and a cup\nof it\n", "UTF-32BE"),
        ("utf-16-le", RUSSIAN, "UTF-16LE"),
        ("utf-16-be", RUSSIAN, "UTF-16BE"),
        ("utf-32-le", RUSSIAN, "UTF-32LE"),
        *(
            (encoding, text * 9, encoding.upper().replace("-L", "L").replace("-B", "B"))
            for encoding in ("utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be")
            for text in (
                "\U0001f600\n",
                "\U0001f600\U0001f600\U0001f375\n",
                "\u8336\u676f\u8336\n",
                "\u0928\u092e\u0938\u094d\u0924\u0947\n",  # 0x09 is a tab
            )
        ),
    ],
)
@pytest.mark.parametrize("name", ["in.txt", "in.jsonl"])
def test_unicode_in_other_units(
    encode: Encode, encoding: str, text: str, named: str, name: str
) -> None:
    content = text.encode(encoding)
    Path(name).write_bytes(content)
    new = name.replace(".", ".new.")
    way_out = f"iconv -f {named} -t UTF-8 < {name} > {new}"
    message = f"{name}, line 1: {named}, not UTF-8, at byte 1; {way_out}"
    assert_refused(encode(name), 1, message)
    message = f"stdin, line 1: {named}, not UTF-8, at byte 1; iconv -f {named} -t UTF-8"
    assert_refused(encode("-", stdin=content), 1, message)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            b"tea\ncaf\xe9\n",
            "in.txt, line 2: not UTF-8: 0xe9 (invalid continuation byte) at byte 4",
        ),
        (
            b"tea\ncaf\xe9\n",
            "(byte 8 of all); iconv -f WINDOWS-1252 -t UTF-8 < in.txt > in.new.txt",
        ),
        ("\u8336\n".encode("shift_jis"), "in.txt, line 1: not UTF-8: 0x92"),
        ("tea\n\u8336\n".encode("gb18030"), "in.txt, line 2: not UTF-8: 0xb2"),
        ("\u8336\n".encode("euc_kr"), "in.txt, line 1: not UTF-8"),
        ("tea\n\u8336\n".encode("iso2022_jp"), "line 2: not UTF-8 but ISO-2022 at byte 1 (byte 5"),
        ("\u8336\n".encode("iso2022_jp"), "iconv -f ISO-2022-JP -t UTF-8 < in.txt > in.new.txt"),
        ("\ucc28\n".encode("iso2022_kr"), "in.txt, line 1: not UTF-8 but ISO-2022"),
        ("\ucc28\n".encode("iso2022_kr"), "iconv -f ISO-2022-KR -t UTF-8 < in.txt"),
        (b"\x1b$)A\x0e2h\x0f\n", "iconv -f ISO-2022-CN -t UTF-8 < in.txt"),
        ("\u4f60\n".encode("iso2022_jp_2"), "iconv -f ISO-2022-JP-2 -t UTF-8 < in.txt"),
        (b"\xed\xa0\xbd\xed\xb8\x80\n", "in.txt, line 1: not UTF-8"),  # CESU-8
        (b"te\xc0\x80a\n", "in.txt, line 1: not UTF-8: 0xc0"),  # Java's
        (b"caf\xc3", "in.txt, line 1: not UTF-8: 0xc3 (unexpected end of data) at byte 4"),
        (b"tea\ncup\0hot\n", "in.txt, line 2: a NUL at byte 4 (byte 8 of all); where texts are"),
        (b"tea\0cup\0hot tea\0", "tr '\\0' '\\n' < in.txt > in.new.txt makes lines of them"),
        (b"\0", "in.txt, line 1: a NUL at byte 1"),
        (bytes(9000), "in.txt, line 1: a NUL at byte 1"),
        (b"tea\n\x01\x02\xfe\n", "line 2: not UTF-8: 0xfe (invalid start byte) at byte 3"),
        (b"tea\n\x01\x02\xfe\n", "; but it has control characters, and may be no text"),
        (
            b"caf\xe9\b\n",
            "iconv -f WINDOWS-1252 -t UTF-8 < in.txt > in.new.txt makes UTF-8 of it, if",
        ),
        ("\u8336\n\u676f\n".encode("utf-16-le"), "if its encoding is UTF-16LE"),
        (b"a\0b\0c\0", "tr '\\0' '\\n' < in.txt > in.new.txt makes lines of them"),
        (b"a\0\0\0b\0\0\0", "tr '\\0' '\\n' < in.txt"),
        (b"hot.a\0tea.b\0" * 20, "tr '\\0' '\\n' < in.txt"),
        (b"tea\rcup\rhot\r\n", "in.txt, line 1: its lines end in CR alone"),
        (
            b"tea\rcup\rhot\n",
            "in.txt, line 1: its lines end in CR alone (the first at character 4)",
        ),
        (b"tea\rcup\rhot\nof it\n", "in.txt, line 1: its lines end in CR alone"),
        (
            b"tea\rcup\rhot\r",
            "in.txt, line 1: its lines end in CR alone (the first at character 4)",
        ),
        (b"tea\rcup", "tr '\\r' '\\n' < in.txt > in.new.txt"),
    ],
)
def test_what_is_no_utf8_text(encode: Encode, content: bytes, message: str) -> None:
    Path("in.txt").write_bytes(content)
    for out in ("out.npy", "-"):
        assert_refused(encode("in.txt", out=out), 1, message)
    head = message.partition("; but")[0].partition(" < in.txt")[0].replace("in.txt", "stdin")
    assert_refused(encode("-", stdin=content), 1, head)


def test_crs_that_end_later_lines(encode: Encode) -> None:
    Path("in.txt").write_bytes(b"tea\r\ncup\nof\rit\rhot\rtea\r")
    for size in (1, READ_BYTES):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("nibblevec._io.lines.READ_BYTES", size)
            message = "in.txt, line 3: its lines end in CR alone (the first at character 3)"
            assert_refused(encode("in.txt"), 1, message)


def test_a_nul_of_json_lines_is_no_end_of_a_record(encode: Encode) -> None:
    Path("in.jsonl").write_bytes(b'{"text": "te\0a"}\n')
    assert_refused(encode("in.jsonl"), 1, "a NUL at byte 13; tr -d '\\0' < in.jsonl > in.new.jsonl")


def test_faults_are_placed_beyond_the_first_read(encode: Encode) -> None:
    lines = b"a cup of tea\n" * (3 * READ_BYTES // 13)
    Path("in.txt").write_bytes(lines + b"caf\xe9\n")
    number = lines.count(b"\n") + 1
    place = f"at byte 4 (byte {len(lines) + 4} of all)"
    assert_refused(encode("in.txt"), 1, f"in.txt, line {number}: not UTF-8", place)


@pytest.mark.parametrize(
    ("content", "texts"),
    [
        (b"\xef\xbb\xbf", []),
        (b"\xef\xbb\xbf\n", [""]),
        (b"\xef\xbb\xbf\r\n", [""]),
        (b"\xef\xbb\xbftea", ["tea"]),
        (b"tea\r", ["tea"]),
        (b"\r", [""]),
        (b"te\ra\n", ["te\ra"]),
        (b"tea\nc\rup\nh\rot\r\n", ["tea", "c\rup", "h\rot"]),
        (b"tea\ncup\n1%\r2%\r3%\n", ["tea", "cup", "1%\r2%\r3%"]),
        (b"tea\r\r\ncup\r\n", ["tea\r", "cup"]),
        (
            b"tea\xe2\x80\xa8\xe2\x80\xa9\xc2\x85\x0b\x0c\x1ccup",
            ["tea\u2028\u2029\x85\x0b\x0c\x1ccup"],
        ),
    ],
)
def test_lines(encode: Encode, content: bytes, texts: list[str]) -> None:
    Path("in.txt").write_bytes(content)
    Path("next.txt").write_text("hot\n")
    assert texts_of(encode("in.txt", "next.txt", out="-")) == [*texts, "hot"]
    assert texts_of(encode("-", "next.txt", stdin=content, out="-")) == [*texts, "hot"]
    with pytest.MonkeyPatch.context() as patch:  # a read may give any number of bytes
        patch.setattr("nibblevec._io.lines.READ_BYTES", 1)
        assert texts_of(encode("in.txt", "next.txt", out="-")) == [*texts, "hot"]


def test_a_mark_alone_is_no_json_line(encode: Encode) -> None:
    Path("in.jsonl").write_bytes(b"\xef\xbb\xbf")
    assert texts_of(encode("in.jsonl", out="-")) == []


# Lines of JSON


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('"tea"\n', "not a JSON object but a string; jq -c '{text: .}' < in.jsonl > in.new.jsonl"),
        ('[{"text": "tea"}]\n', "not a JSON object but an array; jq -c '.[]' < in.jsonl >"),
        ('[\n  {"text": "tea"}\n]\n', "if it is one JSON document, jq -c '.[]' < in.jsonl"),
        ('[ {\n"text": "tea"}\n]\n', "if it is one JSON document, jq -c '.[]' < in.jsonl"),
        ('{\n  "text": "tea"\n}\n', "if it is one JSON document, jq -c . < in.jsonl"),
        ("NaN\n", "not a JSON object but NaN"),
        ('{"text": "tea", "n": ' + "1" * 5000 + "}\n", "not JSON: an integer of too many digits\n"),
        ('{"text": ' + "[" * 100_000 + "\n", "not JSON: too deep\n"),
        ('{"text": NaN}\n', "no text under 'text' (not text)"),
        ('{"text": "tea"} cup\n', "line 1: not JSON"),
        ('{"text": "tea"},\n', "line 1: not JSON"),
        ('{"text": "tea"}\r{"text": "cup"}\r', "its lines end in CR alone"),
        ('{"text": "tea", "text": "cup"}\n', "in.jsonl, line 1: 'text' is there more than once"),
        ('{"text": "tea", "\\u0074ext": "cup"}\n', "'text' is there more than once"),
        ('{"a": {"text": "tea"}}\n', "no text under 'text' (it has 'a')"),
    ],
)
def test_lines_that_are_no_objects(encode: Encode, content: str, message: str) -> None:
    Path("in.jsonl").write_text(content)
    assert_refused(encode("in.jsonl"), 1, "in.jsonl, line 1: ", message)


def test_keys_that_do_not_matter_may_repeat(encode: Encode) -> None:
    line = (
        '{"id": 1, "id": 2, "n": NaN, "a": {"text": 1, "text": 2}, "text": "tea", "a.b": "cup"}\n'
    )
    Path("in.jsonl").write_text(line)
    assert texts_of(encode("in.jsonl", out="-")) == ["tea"]
    assert texts_of(encode("in.jsonl", "--column", "a.b", out="-")) == ["cup"]


def test_an_object_with_many_keys_again_takes_no_quadratic_time() -> None:
    line = "{" + ", ".join(f'"{number % 50_000}": 1' for number in range(100_000)) + "}"
    ((_, record),) = json_objects([line], "in.jsonl")
    assert len(record) == 50_000
    with pytest.raises(InputError, match="'7' is there more than once"):
        text_under("7", record, "in.jsonl", 1)


def test_json_lines_where_texts_are_read(encode: Encode) -> None:
    content = b'\xef\xbb\xbf{"text": "tea"}\n{"text": "cup"}\n'
    Path("a.jsonl").write_bytes(content)
    Path("b.txt").write_bytes(content)
    result = encode("-", "--column", "text", stdin=content)
    assert_refused(result, 2, "no INPUT ends in .jsonl", "stdin is read as a text a line")
    result = encode("a.jsonl", "-", "--column", "text", stdin=content)
    assert_refused(result, 2, "stdin is read as a text a line", "whose name ends in .jsonl")
    result = encode("a.jsonl", "b.txt", "--column", "text", out="-")
    assert_refused(result, 2, "b.txt: a file of this name is read as a text a line", ".jsonl")
    for line in (b"{tea}\n", b"tea {}\n", b'["tea"]\n'):
        assert encode("a.jsonl", "-", "--column", "text", stdin=line).exit_code == 0


# Other commands


@pytest.mark.parametrize("name", ["in.csv", "in.txt", "in.xlsx"])
def test_verify_reads_the_same(model: Path, name: str) -> None:
    Path(name).write_bytes(gzip.compress(b"tea\n"))
    result = CliRunner().invoke(main, ["verify", str(model), name])
    assert_refused(result, 2, f"{name}: only files with a text a line")
    Path(name).unlink()
    Path("b.txt").write_bytes("tea\n".encode("utf-16"))
    result = CliRunner().invoke(main, ["verify", str(model), "b.txt"])
    assert_refused(result, 1, "b.txt, line 1: UTF-16")
    result = CliRunner().invoke(main, ["verify", str(model), "b.txt", "--column", "x"])
    assert_refused(result, 2, "no TEXTS ends in .jsonl")


PAIRS = "sentence1,sentence2,score\ntea,cup,1\ntea,hot,2\n"


@pytest.mark.parametrize(
    ("name", "content", "code", "message"),
    [
        ("in.parquet", b"PAR1\0", 2, "in.parquet: only columns divided by tabs or commas and JSON"),
        ("in.json", b"[]", 2, "one JSON document"),
        (
            "in.csv",
            gzip.compress(PAIRS.encode(), mtime=0),
            2,
            "only columns divided by tabs or commas",
        ),
        ("in.csv.gz", gzip.compress(PAIRS.encode(), mtime=0), 2, "gzip -dc < in.csv.gz > in.csv"),
        ("in.csv", PAIRS.encode("utf-16"), 1, "in.csv, line 1: UTF-16, not UTF-8"),
        ("in.tsv", b"\xef\xbb\xbf", 1, "in.tsv: 0 scored pairs"),
        ("in.csv", PAIRS.replace("tea", "t\0ea").encode(), 1, "in.csv, line 2: a NUL"),
        ("in.csv", PAIRS.replace("\n", "\r").encode(), 1, "its lines end in CR alone"),
    ],
)
def test_eval_reads_no_other_kinds(
    model: Path, name: str, content: bytes, code: int, message: str
) -> None:
    pytest.importorskip("ir_measures")
    Path(name).write_bytes(content)
    assert_refused(CliRunner().invoke(main, ["eval", str(model), name]), code, message)


def test_eval_reads_json_lines_by_any_name(model: Path) -> None:
    pytest.importorskip("ir_measures")
    records = [
        {"sentence1": "tea", "sentence2": text, "score": len(text)} for text in ("a", "of tea")
    ]
    Path("in.jl").write_text("".join(json.dumps(record) + "\n" for record in records))
    result = CliRunner().invoke(main, ["eval", str(model), "in.jl"])
    assert result.exit_code == 0, result.output
