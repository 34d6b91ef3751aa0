"""CUDA memory of GStreamer, over a stand-in for the driver, where GStreamer 1.24 and its headers are."""

import ctypes
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from irchroma.engines.gpu.kernels import host
from irchroma.engines.network.network import installed
from irchroma.stream.errors import StreamError
from irchroma.stream.gstreamer import cuda_memory, door

pytestmark = pytest.mark.gst
FOLDER = Path(__file__).parent
ROOT = FOLDER.parents[2]


def test_a_picture_is_laid_out_in_c_as_it_is_in_python(tmp_path: Path) -> None:
    compiler = shutil.which("cc") or shutil.which("g++")
    if compiler is None:
        pytest.skip("no C compiler here")
    source = Path(cuda_memory.__file__).with_suffix(".c").read_text(encoding="utf-8")
    struct = re.search(r"typedef struct \{[^}]+\} IrchromaPicture;", source)
    assert struct is not None
    names = [name for name, *_ in cuda_memory._Picture._fields_]
    asked = "".join(f'printf("%zu ", offsetof(IrchromaPicture, {name}));' for name in names)
    program = f"""#include <stddef.h>
        #include <stdint.h>
        #include <stdio.h>
        #define GST_VIDEO_MAX_PLANES 4
        {struct[0]}
        int main(void) {{ {asked} printf("%zu", sizeof(IrchromaPicture)); return 0; }}"""
    made = tmp_path / "layout"
    subprocess.run(
        [compiler, "-x", "c", "-", "-o", str(made)], input=program.encode(), check=True, timeout=60
    )
    said = subprocess.run([str(made)], capture_output=True, check=True, timeout=20).stdout.split()
    ours = [getattr(cuda_memory._Picture, name).offset for name in names]
    assert [int(number) for number in said] == [*ours, ctypes.sizeof(cuda_memory._Picture)]


def test_without_what_it_needs_it_says_what_that_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda_memory, "_cuda_headers", list)
    monkeypatch.setenv("PATH", "")
    asked = cuda_memory.fault.__wrapped__  # not what was found before
    monkeypatch.setattr(cuda_memory, "_library", cuda_memory._library.__wrapped__)
    why = asked()
    old = tuple(int(part) for part in door.version().split(".")[:2]) < cuda_memory.OLDEST
    assert why == (
        f"expected GStreamer 1.24 or later, found {'.'.join(door.version().split('.')[:2])}"
        if old
        else "no C compiler with pkg-config here: install gcc and pkg-config"
    )
    monkeypatch.setattr(cuda_memory, "fault", lambda: why)
    with pytest.raises(StreamError, match="pictures cannot stay on the device: "):
        cuda_memory.CudaSource()


def test_an_element_takes_what_its_templates_say() -> None:
    gst = door.modules()["Gst"]

    class Encoder(gst.Element):  # type: ignore[name-defined, misc]
        """Has CUDA memory beside the host's, as nvh264enc."""

        __gstmetadata__ = ("Encoder", "Codec/Encoder/Video", "Stands in", "Nobody")
        __gsttemplates__ = (
            gst.PadTemplate.new(
                "sink",
                gst.PadDirection.SINK,
                gst.PadPresence.ALWAYS,
                gst.Caps.from_string(
                    "video/x-raw,format=I420; video/x-raw(memory:CUDAMemory),format={NV12,P010_10LE}"
                ),
            ),
        )

    assert gst.Element.register(None, "irchroma_cuda_encoder", 0, Encoder)
    assert cuda_memory.takes("irchroma_cuda_encoder")
    assert cuda_memory.takes("irchroma_cuda_encoder", format_name="P010_10LE")
    assert not cuda_memory.takes("irchroma_cuda_encoder", format_name="I420")
    assert not cuda_memory.takes("irchroma_cuda_encoder", "src")
    assert not cuda_memory.takes("videoflip")
    assert not cuda_memory.takes("no such element")


def over_the_stand_in(folder: Path, program: str, *words: str, **more: str) -> tuple[dict[str, object], str]:
    """What a program tells in JSON, and what it logs, with the stand-in for the driver."""
    made = folder / "libcuda.so.1"
    build = ["cc", "-std=c11", "-O1", "-Wall", "-Wextra", "-Werror", "-fPIC", "-shared", "-o", str(made)]
    subprocess.run([*build, str(FOLDER / "cuda_stand_in.c")], check=True, timeout=60)
    shutil.copy(made, folder / "libnvcuvid.so.1")
    more = {"LD_LIBRARY_PATH": str(folder), "GST_REGISTRY": str(folder / "registry"), **more}
    done = subprocess.run(
        [sys.executable, "-m", f"tests.stream.gstreamer.{program}", *words],
        cwd=ROOT,
        env={**os.environ, **more},
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        timeout=560,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    told: dict[str, object] = json.loads(done.stdout)
    return told, done.stderr


@pytest.fixture
def builds() -> None:
    """The library builds here: GStreamer is new enough, its headers and CUDA's are there."""
    try:
        cuda_memory._library()
    except StreamError as error:
        pytest.skip(str(error))


@pytest.mark.usefixtures("builds")
@pytest.mark.parametrize("sanitized", [False, True])
def test_pictures_go_in_and_out_of_cuda_memory_without_a_copy(tmp_path: Path, sanitized: bool) -> None:
    """Under the address sanitizer too, for which the stand-in's memory is as any other."""
    words: tuple[str, ...] = ()
    more = {"G_DEBUG": "fatal-criticals"}  # such as a buffer that is given back twice
    if sanitized:
        found = subprocess.run(
            ["cc", "-print-file-name=libasan.so"], capture_output=True, encoding="utf-8"
        ).stdout
        if not Path(found.strip()).is_absolute():
            pytest.skip("no address sanitizer here")
        words = ("--address",)
        more |= {"LD_PRELOAD": found.strip(), "ASAN_OPTIONS": "detect_leaks=0"}  # Python's own are many
    told, _ = over_the_stand_in(tmp_path, "cuda_pictures", *words, **more)
    assert told.pop("fault") is None
    assert told == {
        "takes": [True, True, False],
        "read": {
            "format": "NV12",
            "size": [76, 100],
            "pitches": [512, 512],  # of the stand-in's memory, not of the caps
            "context": True,
            "equal": True,
        },
        "held": {
            "sizes": [[62, 90], [76, 100], [480, 641]],
            "pitches": [[512, 512], [1024, 1024]],
            "each its own": True,
            "kept": True,
            "left": 0,
        },
        "push": {
            "equal": [True, True, True],
            "nothing copied in": True,
            "refused": 5,
            "flushing": True,
            "out": 0,
            "owners gone": 4,
        },
        "not on a device": "expected a picture in one piece of CUDA memory, got a buffer of another kind",
    }


@pytest.mark.usefixtures("builds")
def test_without_a_gpu_it_says_so(tmp_path: Path) -> None:
    told, _ = over_the_stand_in(tmp_path, "cuda_pictures", STAND_IN_NO_DEVICE="1")
    assert told == {"fault": "no NVIDIA driver with a GPU here (libcuda.so.1)"}


@pytest.mark.timeout(600)  # 144 s on two cores with a load of 15, which nothing but a hang is to end
@pytest.mark.usefixtures("builds")
def test_a_run_hands_its_pictures_to_the_encoder_where_they_lie(tmp_path: Path) -> None:
    """The mark on a network's color is drawn on all of them, and its flicker is looked at."""
    if not installed("openvino") or host.compiler() is None:
        pytest.skip("needs openvino and a C++ compiler")
    told, said = over_the_stand_in(tmp_path, "zero_copy_run", str(tmp_path))
    share = float(str(told.pop("share fetched")))
    assert 0.1 < share < 0.4  # rows of the mark, and four whole frames of 34
    assert told == {
        "copies in": 4,  # two planes each of the two frames on which the encoder is tried
        "pools": [[0, True, 0]],
        "frames": 34,
        "pools when off": 0,
        "equal": True,
        "mixed": {"units": 12, "equal": True, "out": 0},
    }
    assert "encoder: nvenc (x264enc), from the device" in said
    assert "pictures go to the encoder by way of the host: zero_copy is off" in said
