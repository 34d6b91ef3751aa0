"""What `--onvif` needs, who may ask, and how a message is read."""

from __future__ import annotations

import pytest

from irchroma.launch.config import ConfigError
from irchroma.launch.run.options import load, require
from irchroma.stream.sinks.onvif.discovery import may_ask
from irchroma.stream.sinks.onvif.soap import parsed


def test_the_command_asks_for_it_and_needs_a_stream() -> None:
    assert not load(None, {"source": "test:nir", "to": ["null"]}).output.onvif
    with pytest.raises(ConfigError, match="add --to rtsp"):
        require(load(None, {"source": "test:nir", "to": ["null"], "output.onvif": True}))
    with pytest.raises(ConfigError, match="onvif_port"):
        load(None, {"output.onvif_port": 70000})


def test_a_message_is_read_with_its_namespaces() -> None:
    root = parsed(b'<a xmlns="urn:x" xmlns:y="urn:y" y:z="1"><b>t&amp;u</b></a>')
    assert root.tag == "{urn:x}a"
    assert root.get("{urn:y}z") == "1"
    assert root.findtext("{urn:x}b") == "t&u"


@pytest.mark.parametrize(
    ("sender", "everybody", "may"),
    [
        ("127.0.0.1", False, True),
        ("192.168.1.7", False, False),
        ("192.168.1.7", True, True),
        ("169.254.3.4", True, True),
        ("8.8.8.8", True, False),
    ],
)
def test_probes_of_other_networks_are_not_answered(sender: str, everybody: bool, may: bool) -> None:
    assert may_ask(sender, everybody) is may
