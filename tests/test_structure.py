"""The house: arrows point down, there is no circle, and no room is too full."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "python" / "nibblevec"
SOURCES = ROOT / "csrc"

# Rooms of the package, top first: a module imports from rooms below its own, or from its own. The
# names are those of modules and packages; "" is the package's door.
ROOMS = (
    "__main__",
    "_cli",
    "",
    "evaluation",
    "arrow",
    "_verification",
    "_encoder",
    "_encoding",
    "_settings",
    "_vectors",
    "_bundled",
    "_layouts",
    "_model",
    "_tokenization",
    "_containers",
    "_compat",
    "_encode_options",
    "_table",
    "_similarity",
    "_arrow_columns",
    "_precision",
    "_io",
    "_hub",
    "_token_rules",
    "_texts",
    "_blocks",
    "_threads",
    "_float_environment",
    "_progress",
    "_printing",
    "_core",
)

# What users import; the rest is private, and says so.
PUBLIC = {"", "arrow", "evaluation"}

# Rooms of the native code, top first, those of one line side by side.
NATIVE_ROOMS = (
    ("bind",),
    ("arrow", "encoder", "quantize"),
    ("tokenizer",),
    ("kernel",),
    ("rows",),
    ("text", "threads"),
)

MAX_FILE_LINES = 500
MAX_CLASS_LINES = 400


def modules() -> dict[str, Path]:
    """Every module by its name within the package."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports_of(path: Path, known: dict[str, Path]) -> Iterator[str]:
    """What a module imports of the package: at its top, in functions and for type checkers."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: an import that begins with a dot"
            inner = [f"{node.module}.{alias.name}" for alias in node.names]
            # What is no module comes from the one that is named: `from nibblevec import _core`
            # goes through the door, `import nibblevec._core as _core` does not.
            names = [
                name if name.removeprefix("nibblevec.") in known else str(node.module)
                for name in inner
            ]
        else:
            continue
        for name in names:
            if name == "nibblevec" or name.startswith("nibblevec."):
                yield name.removeprefix("nibblevec").removeprefix(".")


def graph() -> dict[str, set[str]]:
    known = modules()
    return {name: set(imports_of(path, known)) - {name} for name, path in known.items()}


def room_of(module: str) -> str:
    return module.partition(".")[0]


def circle_in(edges: dict[str, set[str]]) -> list[str]:
    """The names along a circle; none if there is no circle."""
    done: set[str] = set()

    def search(name: str, way: list[str]) -> list[str]:
        if name in way:
            return [*way[way.index(name) :], name]
        if name in done:
            return []
        for other in sorted(edges.get(name, ())):
            if found := search(other, [*way, name]):
                return found
        done.add(name)
        return []

    for name in edges:
        if found := search(name, []):
            return found
    return []


def test_every_module_has_a_room() -> None:
    rooms = {room_of(name) for name in modules()}
    assert rooms | {"_core"} == set(ROOMS)


def test_arrows_of_the_package_point_down() -> None:
    edges = graph()
    assert sum(map(len, edges.values())) > 100
    floor = {room: number for number, room in enumerate(ROOMS)}
    upwards = [
        f"{name or 'nibblevec'} imports {other or 'nibblevec'}"
        for name, others in edges.items()
        for other in others
        if room_of(other) != room_of(name) and floor[room_of(other)] < floor[room_of(name)]
    ]
    assert upwards == []


def test_the_package_has_no_circle() -> None:
    assert circle_in(graph()) == []


def test_a_circle_would_be_found() -> None:
    assert circle_in({"a": {"b"}, "b": {"c", "d"}, "c": set(), "d": {"b"}}) == ["b", "d", "b"]


def test_what_is_private_says_so() -> None:
    for name in modules():
        parts = name.split(".")
        assert name in {*PUBLIC, "__main__"} or any(part.startswith("_") for part in parts), name


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: path.stem)
def test_sizes(path: Path) -> None:
    source = path.read_text()
    assert len(source.splitlines()) <= MAX_FILE_LINES
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ClassDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            assert lines <= MAX_CLASS_LINES, f"{node.name}: {lines} lines"


def native_includes() -> dict[str, set[str]]:
    """The files that each file of the native code includes itself."""
    files = {}
    for path in sorted([*SOURCES.rglob("*.hpp"), *SOURCES.rglob("*.cpp")]):
        included = set(re.findall(r'^#include "([^"]+)"', path.read_text(), re.MULTILINE))
        assert all((SOURCES / name).exists() for name in included), path
        files[path.relative_to(SOURCES).as_posix()] = included
    return files


def reached_from(file: str, edges: dict[str, set[str]]) -> set[str]:
    """The files that a file includes, itself or through others."""
    reached: set[str] = set()
    left = [file]
    while left:
        others = edges[left.pop()] - reached
        reached |= others
        left += others
    return reached


def test_arrows_of_the_native_code_point_down() -> None:
    rooms: dict[str, set[str]] = {}
    for file, included in native_includes().items():
        others = {name.partition("/")[0] for name in included}
        rooms.setdefault(file.partition("/")[0], set()).update(others)
    floor = {room: number for number, side in enumerate(NATIVE_ROOMS) for room in side}
    assert set(rooms) == set(floor)
    upwards = [
        f"{room} includes {other}"
        for room, others in rooms.items()
        for other in others - {room}
        if floor[other] <= floor[room]
    ]
    assert upwards == []


# Headers that change with an instruction set or a row format. A file of the bindings takes long to
# compile: what these declare reaches it through narrower headers.
WIDE_HEADERS = {
    "kernel/kernel.hpp",
    "rows/formats.hpp",
    "rows/blocks.hpp",
    "rows/plain.hpp",
    "rows/sse_q4.hpp",
    "rows/q4_k.hpp",
    "rows/q6_k.hpp",
}


def test_the_bindings_include_narrow_headers() -> None:
    edges = native_includes()
    assert edges.keys() >= WIDE_HEADERS
    bindings = [file for file in edges if file.startswith("bind/")]
    assert len(bindings) > 5
    wide = {file: reached_from(file, edges) & WIDE_HEADERS for file in bindings}
    assert {file: headers for file, headers in wide.items() if headers} == {}


def test_includes_are_followed_through_others() -> None:
    edges = native_includes()
    assert reached_from("kernel/kernel_avx2.cpp", edges) >= WIDE_HEADERS
    assert "rows/q4_k.hpp" not in edges["kernel/kernel_avx2.cpp"]
