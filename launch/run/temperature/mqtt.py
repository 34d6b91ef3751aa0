"""Tells temperatures and alarms over MQTT, in the way in which Home Assistant finds them by itself.

Reference: MQTT 3.1.1 (OASIS, 2014); Home Assistant, MQTT discovery
(https://www.home-assistant.io/integrations/mqtt/#mqtt-discovery): a topic of
`homeassistant/COMPONENT/NODE/OBJECT/config` for each sensor.
"""

from __future__ import annotations

import json
import logging
import re
import socket
import time
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any
from urllib.parse import unquote, urlsplit

from irchroma.launch.config import ConfigError
from irchroma.stream.sinks.open_sink import public

log = logging.getLogger(__name__)

_EVERY_S = 5.0
_PORTS = {"mqtt": 1883, "mqtts": 8883}
_WAITING = 100  # messages while the broker is away
_DISCOVERY = "homeassistant"


class MqttTeller:
    """One client of a broker, which it looks for again by itself. Never holds the run up.

    Topics: `irchroma/NAME/state` (what the thermometer says, retained) and `irchroma/NAME/online`.

    Args:
        address: `mqtt://user:password@host:1883`, or `mqtts://..`.
        name: the camera's.
        state: gives what is told, see `Thermometer.state`.

    Raises:
        ConfigError: the address makes no sense, or the client is not installed.
    """

    def __init__(self, address: str, name: str, state: Callable[[], dict[str, Any]]) -> None:
        parts = urlsplit(address)
        try:
            port = parts.port or _PORTS[parts.scheme]
        except (KeyError, ValueError):
            port = 0
        if not port or not parts.hostname:
            raise ConfigError(f"--mqtt {public(address)}: expected mqtt://user:password@host:1883")
        if find_spec("paho") is None:
            raise ConfigError("--mqtt needs paho-mqtt: pip install 'irchroma[mqtt]'")
        from paho.mqtt import client as paho
        from paho.mqtt.enums import CallbackAPIVersion

        self._state, self._name, self._label = state, name, public(address)
        self._node = re.sub(r"\W", "_", f"irchroma_{socket.gethostname()}_{name}")
        self._topic = "irchroma/" + re.sub(r"[^\w-]", "_", name)
        self._announced: set[str] = set()
        self._told_s, self._missed = 0.0, False
        self._client = paho.Client(CallbackAPIVersion.VERSION2, client_id=self._node)
        self._client.max_queued_messages_set(_WAITING)
        if parts.username:
            self._client.username_pw_set(unquote(parts.username), unquote(parts.password or ""))
        if parts.scheme == "mqtts":
            self._client.tls_set()
        self._client.will_set(f"{self._topic}/online", "offline", qos=1, retain=True)
        self._client.on_connect = self._connected
        self._client.on_connect_fail = self._unreached
        self._client.on_disconnect = self._parted
        self._client.connect_async(parts.hostname, port, keepalive=30)
        self._client.loop_start()

    def _connected(self, _client: Any, _data: Any, _flags: Any, reason: Any, _more: Any) -> None:
        if reason.is_failure:
            log.warning("mqtt: %s refuses: %s", self._label, reason)
            return
        log.info("mqtt: connected to %s", self._label)
        self._missed = False
        self._announced.clear()  # a broker that was started anew has forgotten all
        self._client.publish(f"{self._topic}/online", "online", qos=1, retain=True)

    def _unreached(self, _client: Any, _data: Any) -> None:
        if not self._missed:
            log.warning("mqtt: %s does not answer; trying again until it does", self._label)
        self._missed = True

    def _parted(self, _client: Any, _data: Any, _flags: Any, reason: Any, _more: Any) -> None:
        if reason.is_failure:
            log.warning("mqtt: %s is lost (%s); trying again", self._label, reason)
            self._missed = True

    def tell_now_and_then(self) -> None:
        """Tell if it is time to; returns at once."""
        if time.monotonic() - self._told_s >= _EVERY_S:
            self.tell()

    def tell(self) -> None:
        """Tell what is; returns at once."""
        self._told_s = time.monotonic()
        state = self._state()
        self._announce(state)
        message = {
            "regions": {
                one["name"]: dict(zip(("min", "mean", "max"), one["celsius"] or [None] * 3, strict=True))
                for one in state["regions"]
            },
            "alarms": {_alarm_key(one): "OFF" if one["since"] is None else "ON" for one in state["alarms"]},
        }
        self._client.publish(f"{self._topic}/state", json.dumps(message), qos=1, retain=True)

    def _announce(self, state: dict[str, Any]) -> None:
        """Sensors for Home Assistant, of what is new; what is gone is taken back."""
        wanted: dict[str, dict[str, Any] | None] = {}
        for one in state["regions"]:
            for part in ("min", "mean", "max"):
                wanted[f"sensor/{self._node}/{one['name']}_{part}"] = {
                    "name": f"{one['name']} {part}",
                    "device_class": "temperature",
                    "state_class": "measurement",
                    "unit_of_measurement": "°C",
                    "value_template": f"{{{{ value_json.regions['{one['name']}'].{part} }}}}",
                }
        for one in state["alarms"]:
            key = _alarm_key(one)
            wanted[f"binary_sensor/{self._node}/{key}"] = {
                "name": f"{one['region']} {one['kind']} {one['limit']:g}",
                "device_class": "problem",
                "value_template": f"{{{{ value_json.alarms['{key}'] }}}}",
            }
        device = {"identifiers": [self._node], "name": f"irchroma {self._name}", "manufacturer": "irchroma"}
        for place in self._announced - set(wanted):
            self._client.publish(f"{_DISCOVERY}/{place}/config", "", qos=1, retain=True)
        for place in set(wanted) - self._announced:
            config = {
                **(wanted[place] or {}),
                "unique_id": place.replace("/", "_"),
                "state_topic": f"{self._topic}/state",
                "availability_topic": f"{self._topic}/online",
                "device": device,
            }
            self._client.publish(f"{_DISCOVERY}/{place}/config", json.dumps(config), qos=1, retain=True)
        self._announced = set(wanted)

    def close(self) -> None:
        """Say goodbye and let go; may be called twice."""
        if self._client.is_connected():
            last = self._client.publish(f"{self._topic}/online", "offline", qos=1, retain=True)
            try:
                last.wait_for_publish(1.0)
            except (RuntimeError, ValueError) as error:
                log.debug("mqtt: %s", error)
        self._client.disconnect()
        self._client.loop_stop()


def _alarm_key(alarm: dict[str, Any]) -> str:
    return re.sub(r"\W", "_", f"{alarm['region']}_{alarm['kind']}_{alarm['limit']:g}")
