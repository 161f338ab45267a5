"""Kinds of files that hold neither lines of text nor JSON lines, known by name or content."""

from __future__ import annotations

import os
import shlex
from typing import NamedTuple

from nibblevec._io.encodings import has_control_characters, is_utf8

JSON_LINES_SUFFIXES = (
    *(".jsonl", ".ndjson", ".jl", ".jlines", ".jsonlines", ".json-lines", ".json_lines"),
    *(".ldjson", ".ljson", ".nljson", ".ndjsonl", ".geojsonl", ".geojsons"),
)

# Enough of a file to tell its kind: a tar archive says so at byte 257.
BEGINNING_BYTES = 4096


class Kind(NamedTuple):
    """A kind of files, and the way to readable ones.

    Attributes:
        words: a noun, with its article.
        way_out: a sentence or a command that makes a readable file; ``{path}`` stands for the file
            in a shell, ``{target}`` for the name of the readable one.
        suffixes: ends of names that tell the kind by themselves, in lower case.
    """

    words: str
    way_out: str
    suffixes: tuple[str, ...]


_AS_JSON_LINES = (
    "make JSON lines of it first (pandas: DataFrame.to_json('texts.jsonl', orient='records',"
    " lines=True))"
)
# Kinds of text files that do not hold one text a line.
TEXT_TABLE = Kind("a table", _AS_JSON_LINES, (".csv", ".tsv", ".tab", ".psv", ".ssv", ".dsv"))
JSON_DOCUMENT = Kind(
    "one JSON document",
    "jq -c '.[]' {path} > {target} makes JSON lines of an array",
    (".json", ".json5", ".jsonc", ".hjson", ".geojson", ".topojson", ".ipynb"),
)
MISNAMED_JSON_LINES = Kind(
    "named as one JSON document, but it looks like JSON lines",
    "give it a name that ends in .jsonl",
    (),
)
JSON_SEQUENCE = Kind(
    "a JSON sequence",
    "jq -c --seq . {path} | tr -d '\\036' > {target} makes JSON lines of it",
    (".json-seq", ".jsonseq", ".geojsonseq"),
)
# Kinds of binary files. Only well-known suffixes are listed: texts have names like in.pt, in.so and
# in.br, after languages, and data.raw. The other files are known by their content.
TABLE = Kind(
    "a table",
    _AS_JSON_LINES,
    (
        *(".parquet", ".arrow", ".feather", ".ipc", ".orc", ".avro", ".xls", ".xlsx", ".ods"),
        *(".sqlite", ".sqlite3", ".duckdb", ".h5", ".hdf5"),
    ),
)
ARCHIVE = Kind(
    "an archive",
    "unpack it first, and give the files in it",
    (".zip", ".tar", ".tgz", ".7z", ".rar"),
)
PDF = Kind("a PDF document", "make text of it first (pdftotext {path} {target})", (".pdf",))
DOCUMENT = Kind(
    "a document",
    "make text of it first (pandoc -t plain --wrap=none -o {target} {path})",
    (".docx", ".odt", ".epub"),
)
_NO_TEXTS = "it holds no lines of text"
MEDIA = Kind(
    "an image, sound or video",
    _NO_TEXTS,
    (".png", ".jpg", ".jpeg", ".gif", ".webp", ".mp3", ".mp4", ".wav"),
)
ARRAYS = Kind(
    "a file of arrays, objects or weights",
    _NO_TEXTS,
    (".npy", ".npz", ".pkl", ".pickle", ".safetensors", ".gguf", ".onnx"),
)
PROGRAM = Kind("a program", _NO_TEXTS, ())
LFS_POINTER = Kind("a pointer of Git LFS", "git lfs pull fetches the file itself", ())


def _compressed(tool: str, *suffixes: str) -> Kind:
    way_out = f"decompress it first ({tool} < {{path}} > {{target}})"
    return Kind("a compressed file", way_out, suffixes)


GZIP = _compressed("gzip -dc", ".gz")
BZIP2 = _compressed("bzip2 -dc", ".bz2")
XZ = _compressed("xz -dc", ".xz")
ZSTD = _compressed("zstd -dc", ".zst")
LZ4 = _compressed("lz4 -dc", ".lz4")
LZIP = _compressed("lzip -dc")
SNAPPY = _compressed("snzip -dc")
LZOP = _compressed("lzop -dc")

COMPRESSED = (GZIP, BZIP2, XZ, ZSTD, LZ4, LZIP, SNAPPY, LZOP)
KINDS = (
    *(TEXT_TABLE, JSON_DOCUMENT, JSON_SEQUENCE, TABLE, *COMPRESSED, ARCHIVE, PDF, DOCUMENT),
    *(MEDIA, ARRAYS, PROGRAM),
)
_KIND_OF_SUFFIX = {suffix: kind for kind in KINDS for suffix in kind.suffixes}


class _Magic(NamedTuple):
    """Bytes that files of a format hold at a place near their beginning."""

    format: str
    kind: Kind
    place: int
    signatures: tuple[bytes, ...]


def _magic(format_: str, kind: Kind, *signatures: bytes, place: int = 0) -> _Magic:
    return _Magic(format_, kind, place, signatures)


# No text begins with these.
_SIGNATURES = (
    _magic("gzip", GZIP, b"\x1f\x8b", b"\x1f\x9d", b"\x1f\xa0"),
    _magic("bzip2", BZIP2, *(b"BZh%d\x31AY&SY" % level for level in range(1, 10))),
    _magic("xz", XZ, b"\xfd7zXZ\0", b"\x5d\0\0"),
    _magic("Zstandard", ZSTD, b"\x28\xb5\x2f\xfd", *(b"%c*M\x18" % c for c in range(80, 96))),
    _magic("LZ4", LZ4, b"\x04\x22\x4d\x18", b"\x02\x21\x4c\x18"),
    _magic("lzip", LZIP, b"LZIP\0", b"LZIP\1"),
    _magic("Snappy", SNAPPY, b"\xff\x06\0\0sNaPpY"),
    _magic("lzop", LZOP, b"\x89LZO\0"),
    _magic(
        *("zip; .docx, .xlsx, .odt, .epub and .npz are such, too", ARCHIVE),
        *(b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08"),
    ),
    _magic("7z", ARCHIVE, b"7z\xbc\xaf\x27\x1c"),
    _magic("RAR", ARCHIVE, b"Rar!\x1a\x07"),
    _magic("RPM", ARCHIVE, b"\xed\xab\xee\xdb"),
    _magic("cabinet", ARCHIVE, b"MSCF\0"),
    _magic("SQLite", TABLE, b"SQLite format 3\0"),
    _magic("Access", TABLE, b"\0\1\0\0Standard Jet DB", b"\0\1\0\0Standard ACE DB"),
    _magic("Avro", TABLE, b"Obj\1"),
    _magic("Arrow stream", TABLE, b"\xff\xff\xff\xff"),
    _magic("HDF", TABLE, b"\x89HDF", b"\x0e\x03\x13\x01"),
    _magic("NetCDF", TABLE, b"CDF\1", b"CDF\2", b"CDF\5"),
    _magic("Microsoft Office", DOCUMENT, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"),
    _magic("NumPy", ARRAYS, b"\x93NUMPY"),
    _magic("pickle", ARRAYS, *(b"\x80%c" % protocol for protocol in range(2, 6))),
    _magic("safetensors", ARRAYS, b"\0\0\0{", place=5),
    _magic("ELF", PROGRAM, b"\x7fELF"),
    _magic("Mach-O", PROGRAM, b"\xce\xfa\xed\xfe", b"\xcf\xfa\xed\xfe"),
    _magic("Mach-O or Java", PROGRAM, b"\xca\xfe\xba\xbe"),
    _magic("WebAssembly", PROGRAM, b"\0asm"),
    _magic("PNG", MEDIA, b"\x89PNG"),
    _magic("JPEG", MEDIA, b"\xff\xd8\xff"),
    _magic("TIFF", MEDIA, b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"),
    _magic("icon", MEDIA, b"\0\0\1\0", b"\0\0\2\0"),
    _magic("Matroska or WebM", MEDIA, b"\x1a\x45\xdf\xa3"),
    _magic("MP3 or AAC", MEDIA, b"\xff\xfb", b"\xff\xf3", b"\xff\xf2", b"\xff\xf1", b"\xff\xf9"),
)
# A text may begin with these, so a NUL or a control character must confirm the format.
_SIGNATURES_OF_LETTERS = (
    _magic("Parquet", TABLE, b"PAR1", b"PARE"),
    _magic("Arrow", TABLE, b"ARROW1"),
    _magic("Feather", TABLE, b"FEA1"),
    _magic("ORC", TABLE, b"ORC"),
    _magic("DuckDB", TABLE, b"DUCK", place=8),
    _magic("Stata", TABLE, b"<stata_dta>"),
    _magic("SPSS", TABLE, b"$FL2", b"$FL3"),
    _magic("R", TABLE, b"RDX2\n", b"RDX3\n"),
    _magic("MATLAB", TABLE, b"MATLAB "),
    _magic("bzip2", BZIP2, *(b"BZh%d" % level for level in range(1, 10))),
    _magic("tar", ARCHIVE, b"ustar", place=257),
    _magic("ar", ARCHIVE, b"!<arch>\n"),
    _magic("cpio", ARCHIVE, b"070701", b"070702", b"070707"),
    _magic("DjVu", DOCUMENT, b"AT&TFORM"),
    _magic("GGUF", ARRAYS, b"GGUF"),
    _magic("GIF", MEDIA, b"GIF87a", b"GIF89a"),
    _magic("BMP", MEDIA, b"BM"),
    _magic("Photoshop", MEDIA, b"8BPS"),
    _magic("MP4, HEIF or AVIF", MEDIA, b"ftyp", place=4),
    _magic("RIFF, Ogg, FLAC or MP3", MEDIA, b"RIFF", b"OggS", b"fLaC", b"ID3"),
    _magic("font", MEDIA, b"wOFF", b"wOF2", b"OTTO", b"\0\1\0\0"),
    _magic("Windows", PROGRAM, b"MZ"),
    _magic("Python bytecode", PROGRAM, b"\r\r\n", place=1),
)
# These are text, but of other kinds.
_MARKUP = (
    _magic("", PDF, b"%PDF-"),
    _magic("RTF", DOCUMENT, b"{\\rtf"),
    _magic("PostScript", DOCUMENT, b"%!PS-Adobe-"),
    _magic("pickle", ARRAYS, b"(lp0\n", b"(dp0\n", b"ccopy_reg\n_reconstructor\n"),
    _magic("", JSON_SEQUENCE, b"\x1e{", b"\x1e["),
    _magic("", LFS_POINTER, b"version https://git-lfs.github.com/spec/v"),
)


def kind_by_name(path: str) -> Kind | None:
    """The kind of a file of this name; None: it may hold lines of text."""
    name = os.path.basename(path).lower()
    # ".gz" by itself too, which to `os.path.splitext` is no suffix.
    return _KIND_OF_SUFFIX.get(name[name.rfind(".") :]) if "." in name else None


def is_json_lines(path: str) -> bool:
    """Whether a file of this name holds a JSON object a line."""
    return path.lower().endswith(JSON_LINES_SUFFIXES)


def kind_by_content(beginning: bytes) -> tuple[str, Kind] | None:
    """The format and the kind of a file with this beginning; None: it may hold lines of text.

    Args:
        beginning: its first `BEGINNING_BYTES`, or as many as there are.
    """
    signatures: tuple[_Magic, ...] = (*_SIGNATURES, *_MARKUP)
    if b"\0" in beginning or (has_control_characters(beginning) and not is_utf8(beginning)):
        signatures += _SIGNATURES_OF_LETTERS
    beginning = beginning.removeprefix(b"\xef\xbb\xbf")
    for magic in signatures:
        if beginning.startswith(magic.signatures, magic.place):
            return magic.format, magic.kind
    return None


def way_out(kind: Kind, path: str | None) -> str:
    """The way to make readable files of a file of this kind; the path None is stdin."""
    if path is None:
        if kind in COMPRESSED:
            tool = kind.way_out.partition("(")[2].partition(" <")[0]
            return f"decompress it into a file first ({tool})"
        return kind.way_out.format(path="FILE", target="TARGET")
    return kind.way_out.format(path=shlex.quote(path), target=shlex.quote(_target(kind, path)))


def _target(kind: Kind, path: str) -> str:
    """A name for the readable file, under which it is read in the right way."""
    stem, suffix = os.path.splitext(path)
    if kind in COMPRESSED:
        known = suffix.lower() in kind.suffixes or is_json_lines(stem) or kind_by_name(stem)
        return stem if suffix and known else beside(path)
    target = stem + (".jsonl" if kind in (JSON_DOCUMENT, JSON_SEQUENCE) else ".txt")
    return beside(path) if target == path else target


def beside(path: str) -> str:
    """Another name, of a file that is read in the same way."""
    folder, name = os.path.split(path)
    stem, dot, suffix = name.rpartition(".")
    return os.path.join(folder, f"{stem}.new.{suffix}" if dot else f"{name}.new")
