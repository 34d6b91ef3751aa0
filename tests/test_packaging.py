"""The layout's own rules: one import name, five folders, nothing heavy at import."""

import ast
import functools
import importlib.util
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("stream", "engines", "calibration", "launch")
SOURCES = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))


class Syntax(NamedTuple):
    """What a file has of what is asked here.

    Attributes:
        imports: names of `import`; of those at its top, `first`.
        from_imports: (module, name, level) of each `from module import name`.
        by_call: what `import_module` is called with.
        attributes: (name, attribute, line) of each `name.attribute`.
    """

    imports: set[str]
    first: set[str]
    from_imports: set[tuple[str, str, int]]
    by_call: set[str]
    attributes: set[tuple[str, str, int]]


@functools.cache
def syntax_of(path: Path) -> Syntax:
    """Of a file, which is read by the oldest Python's grammar, and once for all tests."""
    tree = ast.parse(path.read_text(encoding="utf-8"), feature_version=(3, 10))
    found = Syntax(set(), set(), set(), set(), set())
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found.imports.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            found.from_imports.update((node.module or "", alias.name, node.level) for alias in node.names)
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            found.attributes.add((node.value.id, node.attr, node.lineno))
        elif isinstance(node, ast.Call) and "import_module" in ast.unparse(node.func):
            found.by_call.update(ast.unparse(argument).strip("'\"f") for argument in node.args)
    found.first.update(
        alias.name for node in tree.body if isinstance(node, ast.Import) for alias in node.names
    )
    return found


def project() -> dict[str, object]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def test_every_package_on_disk_is_declared() -> None:
    setuptools = project()["tool"]["setuptools"]  # type: ignore[index]
    on_disk = {"irchroma." + str(path.parent.relative_to(ROOT)).replace("/", ".") for path in SOURCES}
    assert on_disk == set(setuptools["packages"])
    for name, folder in setuptools["package-dir"].items():
        assert (ROOT / folder / "py.typed").is_file(), name


def test_type_checkers_see_the_folders_through_links() -> None:
    links = {link.name: link.resolve() for link in (ROOT / ".typing" / "irchroma").iterdir()}
    assert links == {folder: ROOT / folder for folder in FOLDERS}


HOMES = {
    "gi": {"stream/gstreamer/door.py"},
    "openvino": {"engines/network/openvino_runtime.py"},
    "onnxruntime": {"engines/network/onnx_runtime.py", "engines/network/eight_bit/quantization.py"},
    "onnx": {
        "engines/network/torch_runtime.py",
        "engines/network/weight_storage.py",
        "engines/network/onnx_summary.py",
        "engines/network/eight_bit/quantization.py",
        "engines/training/export.py",
    },
    "torch": {
        "engines/network/torch_runtime.py",
        "engines/gpu/cuda/torch_device.py",
        "launch/bench/gpu/torch_speed.py",
        "launch/commands/train/command.py",
        *(str(path.relative_to(ROOT)) for path in (ROOT / "engines" / "training").rglob("*.py")),
    },
    "efficientnet_lite_pytorch": {"engines/training/encoder.py"},
    "pycuda": {"engines/gpu/cuda/pycuda_device.py"},
    "tensorrt": {"engines/gpu/plans/library.py"},
    "tensorrt_rtx": {"engines/gpu/plans/library.py"},
    "voyager": {"engines/retrieval/neighbors.py"},
    "ray": {"launch/fleet/ray_door.py"},
    "cryptography": {"stream/sinks/evidence/signing.py"},
    "skimage": {"engines/measures/metrics.py"},
}
"""A heavy library -> the files that may import it."""
AT_IMPORT = {
    "engines/network/openvino_runtime.py",
    "engines/network/onnx_runtime.py",
    "engines/network/torch_runtime.py",
    "engines/gpu/cuda/torch_device.py",
    "launch/bench/gpu/torch_speed.py",
    "launch/gstreamer/python/irchroma_element.py",
    *(path for path in HOMES["torch"] if path.startswith("engines/training/")),
}
"""Those that do so when they are imported themselves: nobody imports them before the library is wanted."""


def module_of(path: Path) -> str:
    name = "irchroma." + str(path.relative_to(ROOT)).removesuffix(".py").replace("/", ".")
    return name.removesuffix(".__init__")


def loaded_by(modules: list[str]) -> list[str]:
    """The heavy libraries that a fresh interpreter has after importing these."""
    code = (
        f"import importlib, sys\nfor name in {modules!r}: importlib.import_module(name)\n"
        f"print(*[m for m in {sorted(HOMES)!r} if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, encoding="utf-8", errors="replace", check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_every_module_but_the_runtimes_own_loads_no_heavy_library() -> None:
    light = [path for path in SOURCES if str(path.relative_to(ROOT)) not in AT_IMPORT]
    assert len(light) > 200
    assert loaded_by([module_of(path) for path in light if path.name != "__main__.py"]) == []


def test_the_one_above_can_fail() -> None:
    if importlib.util.find_spec("onnxruntime") is None:
        pytest.skip("needs some heavy library")
    assert loaded_by(["irchroma.engines.network.onnx_runtime"]) == ["onnxruntime"]


def test_nothing_imports_a_folder_by_its_bare_name() -> None:
    tests = sorted((ROOT / "tests").rglob("*.py"))
    for path in [*SOURCES, *tests]:
        found = syntax_of(path)
        assert not any(level for *_, level in found.from_imports), f"{path}: relative import"
        names = {*found.imports, *(module for module, *_ in found.from_imports)}
        assert not {name.split(".")[0] for name in names} & set(FOLDERS), path


@functools.cache
def importers() -> dict[str, set[str]]:
    """A library -> the files that import it, at their top or when they are asked."""
    found: dict[str, set[str]] = {}
    for path in SOURCES:
        syntax = syntax_of(path)
        for name in {*syntax.imports, *(module for module, *_ in syntax.from_imports), *syntax.by_call}:
            found.setdefault(name.split(".")[0], set()).add(str(path.relative_to(ROOT)))
    return found


@pytest.mark.parametrize("library", HOMES)
def test_a_heavy_library_is_imported_in_its_homes_only(library: str) -> None:
    assert importers().get(library, set()) <= HOMES[library]


def test_that_a_gpu_has_never_run_it_is_said_once() -> None:
    said = re.compile(r"never yet (run|loaded)|never (been )?(run|loaded) (on|by) a GPU", re.IGNORECASE)
    assert len(said.findall((ROOT / "README.md").read_text(encoding="utf-8"))) <= 1
    assert [path for path in SOURCES if said.search(path.read_text(encoding="utf-8"))] == []


@pytest.mark.parametrize("command", ["./launch/demo", "./launch/test"])
def test_the_readme_begins_with_the_two_commands_that_set_everything_up(command: str) -> None:
    beginning = (ROOT / "README.md").read_text(encoding="utf-8").split("## Begin", 1)[1].split("\n## ", 1)[0]
    assert re.search(rf"^{re.escape(command)}\b", beginning, re.MULTILINE)
    assert os.access(ROOT / command, os.X_OK)


def test_no_modules_import_each_other_in_a_circle() -> None:
    names = {"irchroma." + str(p.relative_to(ROOT))[:-3].replace("/", "."): p for p in SOURCES}
    needs: dict[str, set[str]] = {name: set() for name in names}
    for name, path in names.items():
        for module, imported, _ in syntax_of(path).from_imports:
            needs[name] |= {one for one in (module, f"{module}.{imported}") if one in names}
    while free := {name for name, others in needs.items() if not others & set(needs)}:
        needs = {name: others for name, others in needs.items() if name not in free}
    assert not needs, "these import each other in a circle, or something that does"


def test_files_stay_readable() -> None:
    files = [*SOURCES, *(ROOT / "tests").rglob("*.py")]
    lengths = {str(p.relative_to(ROOT)): len(p.read_text(encoding="utf-8").splitlines()) for p in files}
    too_long = {name: lines for name, lines in lengths.items() if lines > 400}
    assert not too_long


def test_folders_stay_readable() -> None:
    """The street of the test camera, which is one thing and frozen, aside."""
    counts = Counter(str(p.parent.relative_to(ROOT)) for p in SOURCES if p.name != "__init__.py")
    assert {name for name, count in counts.items() if count > 14} <= {"stream/synthetic"}


@pytest.mark.slow
def test_the_wheel_holds_every_module_and_the_weights(tmp_path: Path) -> None:
    import zipfile

    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "-q",
        "--no-deps",
        "--no-build-isolation",
        "-w",
        str(tmp_path),
    ]
    done = subprocess.run(
        [*command, str(ROOT)], capture_output=True, encoding="utf-8", errors="replace", check=False
    )
    assert done.returncode == 0, done.stderr
    names = zipfile.ZipFile(next(tmp_path.glob("*.whl"))).namelist()
    for path in SOURCES:
        assert f"irchroma/{path.relative_to(ROOT)}" in names
    assets = [path for path in (ROOT / "stream" / "sinks" / "http" / "assets").rglob("*") if path.is_file()]
    assert len(assets) > 10
    for asset in assets:
        assert f"irchroma/{asset.relative_to(ROOT)}" in names
    for weights in (ROOT / "engines" / "weights").glob("*.onnx"):
        assert f"irchroma/engines/weights/{weights.name}" in names


NEWER_THAN_3_10 = {
    ("datetime", "UTC"),
    ("asyncio", "timeout"),
    ("asyncio", "TaskGroup"),
    ("hashlib", "file_digest"),
    ("enum", "StrEnum"),
    ("typing", "Self"),
    ("typing", "assert_never"),
    ("contextlib", "chdir"),
    ("itertools", "batched"),
}


def test_nothing_is_used_that_the_oldest_python_lacks() -> None:
    """JetPack 6 has Python 3.10 and its TensorRT for no other. Syntax is ruff's to check, by its target."""
    assert project()["project"]["requires-python"] == ">=3.10"  # type: ignore[index]
    assert project()["tool"]["ruff"]["target-version"] == "py310"  # type: ignore[index]
    for path in SOURCES:
        found = syntax_of(path)
        for name, attribute, line in found.attributes:
            assert (name, attribute) not in NEWER_THAN_3_10, f"{path}:{line}"
        assert not {(module, name) for module, name, _ in found.from_imports} & NEWER_THAN_3_10, path
        assert "tomllib" not in found.first, path
