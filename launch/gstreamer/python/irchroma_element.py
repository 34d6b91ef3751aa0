"""What GStreamer's Python loader finds and loads: the element `irchroma`."""

import site
import sys
from importlib.util import find_spec
from pathlib import Path

_KEPT = [sys.path] * 64
"""The loader of gst-python 1.22 gives back references to this list that it never took, until it is freed
while it is in use."""


def _find_packages() -> None:
    """Add the environment that this file belongs to: GStreamer's own interpreter knows of none."""
    here = Path(__file__).resolve()
    before = list(sys.path)
    for folder in here.parents:
        own = [folder] if folder.name.endswith("-packages") else []
        found = own or sorted(folder.glob(".venv/lib/python3*/site-packages"))
        if found:
            site.addsitedir(str(found[-1]))
            break
    sys.path[:] = [path for path in sys.path if path not in before] + before


if find_spec("irchroma") is None or find_spec("cv2") is None:
    _find_packages()

from irchroma.launch.gstreamer.element import element_class  # noqa: E402 (found only now)

__gstelementfactory__ = ("irchroma", 0, element_class())
