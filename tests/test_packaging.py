"""The layout's own rules: one import name, five folders, nothing heavy at import."""

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("stream", "engines", "calibration", "launch")
HEAVY = ("torch", "openvino", "onnxruntime", "gi", "tensorrt", "tensorrt_rtx", "pycuda", "skimage")
SOURCES = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))


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


@pytest.mark.parametrize("folder", FOLDERS)
def test_importing_a_folder_loads_no_heavy_runtime(folder: str) -> None:
    code = f"import sys, irchroma.{folder}; print([m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_starting_a_run_needs_no_torch() -> None:
    code = f"import sys, irchroma.launch.commands.run; print([m for m in {HEAVY[:1]!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_nothing_imports_a_folder_by_its_bare_name() -> None:
    tests = sorted((ROOT / "tests").rglob("*.py"))
    for path in [*SOURCES, *tests]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{path}: relative import"
                names = [node.module or ""]
            assert not {name.split(".")[0] for name in names} & set(FOLDERS), path


@pytest.mark.parametrize(
    ("module", "home"),
    [
        ("gi", {"stream/gstreamer/door.py"}),
        ("openvino", {"engines/network/openvino_runtime.py"}),
        ("onnxruntime", {"engines/network/onnx_runtime.py"}),
        ("tensorrt", {"engines/gpu/plans/library.py"}),
        ("tensorrt_rtx", {"engines/gpu/plans/library.py"}),
    ],
)
def test_a_heavy_library_is_imported_in_one_file_only(module: str, home: set[str]) -> None:
    found = set()
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            if module in {name.split(".")[0] for name in names}:
                found.add(str(path.relative_to(ROOT)))
    assert found <= home


def test_no_modules_import_each_other_in_a_circle() -> None:
    names = {"irchroma." + str(p.relative_to(ROOT))[:-3].replace("/", "."): p for p in SOURCES}
    needs: dict[str, set[str]] = {name: set() for name in names}
    for name, path in names.items():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom):
                found = {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
                needs[name] |= {one for one in found if one in names}
    while free := {name for name, others in needs.items() if not others & set(needs)}:
        needs = {name: others for name, others in needs.items() if name not in free}
    assert not needs, "these import each other in a circle, or something that does"


def test_files_stay_readable() -> None:
    lengths = {str(p.relative_to(ROOT)): len(p.read_text(encoding="utf-8").splitlines()) for p in SOURCES}
    too_long = {name: lines for name, lines in lengths.items() if lines > 400}
    assert not too_long


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
    done = subprocess.run([*command, str(ROOT)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    names = zipfile.ZipFile(next(tmp_path.glob("*.whl"))).namelist()
    for path in SOURCES:
        assert f"irchroma/{path.relative_to(ROOT)}" in names
    for page in (ROOT / "stream" / "sinks" / "http").glob("*.html"):
        assert f"irchroma/{page.relative_to(ROOT)}" in names
    for weights in (ROOT / "engines" / "weights").glob("*.onnx"):
        assert f"irchroma/engines/weights/{weights.name}" in names
