"""Passwords of a run: where they come from, and how they stay out of logs, listings and process lists."""

from __future__ import annotations

import dataclasses
import logging
import os
import re
import secrets
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

from irchroma.launch.arguments import REFERENCE, secret_places
from irchroma.launch.config import ConfigError
from irchroma.launch.run.settings.options import RunConfig

log = logging.getLogger(__name__)

R = TypeVar("R", bound=RunConfig)

_CREDENTIAL_PREFIX = "irchroma_"  # of what the service file's LoadCredential makes of a folder
_LONGEST_BYTES = 4096


def revealed(config: R, camera: str = "") -> R:
    """The configuration with `${NAME}` and `${file:PATH}` replaced by what they stand for.

    A name is looked up in the environment, then among systemd's credentials. Within an address the value is
    written so that any character may be in it.

    Args:
        config: as configured.
        camera: its name among several, for the error.

    Raises:
        ConfigError: there is nothing of that name.
    """

    def reveal(text: str, key: str) -> str:
        key = f"cameras.{camera}.{key}" if camera else key

        def value(match: re.Match[str]) -> str:
            found = _looked_up(match[1], key)
            return quote(found, safe="") if "://" in text[: match.start()] else found

        return REFERENCE.sub(value, text)

    return _with_texts(config, reveal)


def _looked_up(name: str, key: str) -> str:
    if name.startswith("file:"):
        return _read(Path(name.removeprefix("file:")), key)
    if name in os.environ:
        return os.environ[name]
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    for file in (name, _CREDENTIAL_PREFIX + name) if folder else ():
        if (Path(folder or "") / file).is_file():
            return _read(Path(folder or "") / file, key)
    raise ConfigError(
        f"{key}: ${{{name}}} is not known: set {name} in the environment, give a systemd credential of that"
        " name, or write ${file:PATH}"
    )


def _read(path: Path, key: str) -> str:
    try:
        if path.stat().st_size > _LONGEST_BYTES:
            raise ConfigError(f"{key}: {path} is too long for a password")
        return path.read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or "no UTF-8 text"
        raise ConfigError(f"{key}: the password file {path} cannot be read ({reason.lower()})") from error


@dataclass(frozen=True, slots=True)
class Secret:
    """A password that was left out of a listing: the name that stands in its place, and where it belongs."""

    name: str
    key: str


def masked(config: R, camera: str = "") -> tuple[R, list[Secret]]:
    """The configuration with a `${NAME}` in place of each password in it, and those names.

    Args:
        config: as configured.
        camera: its name among several.
    """
    found: list[Secret] = []

    def mask(text: str, key: str) -> str:
        stem = re.sub(r"[^A-Z0-9]+", "_", f"irchroma_{camera}_{key}".upper()).strip("_")

        def name(kind: str) -> str:
            made = stem if stem.endswith(kind) else f"{stem}_{kind}"
            found.append(Secret(made, f"{camera}: {key}" if camera else key))
            return f"${{{made}}}"

        if "://" not in text:
            secret = key.endswith("token") and text and not REFERENCE.fullmatch(text)
            return name("TOKEN") if secret else text
        for place in reversed(secret_places(text)):
            part = text[place]
            if not REFERENCE.fullmatch(part):
                kind = "PASSPHRASE" if text[: place.start].endswith("passphrase=") else "PASSWORD"
                text = text[: place.start] + name(kind) + text[place.stop :]
        return text

    return _with_texts(config, mask), found


def explanation(secrets_left_out: list[Secret], file: str = "NAME") -> str:
    """What to do about the passwords that a listing leaves out, as TOML comments; empty for none."""
    if not secrets_left_out:
        return ""
    names = "".join(f"#   {secret.name}   of {secret.key}\n" for secret in secrets_left_out)
    return (
        "# Passwords are left out of this listing. Give each by its name, in the environment of the run:\n"
        f"{names}"
        "# or, for the service, as files that only root can read, one each:\n"
        f"#   sudo install -m 600 /dev/stdin /etc/irchroma/{file}.secrets/{secrets_left_out[0].name}\n\n"
    )


def _with_texts(config: R, change: Callable[[str, str], str]) -> R:
    """The configuration with every text that may hold a secret changed."""
    source = change(config.source, "source")
    to = tuple(change(text, f"to.{number}") for number, text in enumerate(config.to, 1))
    output = replace(
        config.output,
        page_token=change(config.output.page_token, "page_token"),
        page_viewer_token=change(config.output.page_viewer_token, "page_viewer_token"),
    )
    on_event = change(config.on_event, "on_event")
    mqtt = change(config.mqtt, "mqtt")
    return dataclasses.replace(config, source=source, to=to, output=output, on_event=on_event, mqtt=mqtt)


def page_token() -> str:
    """`kept_token`, and a line that says where it is; the token itself is shown on a terminal only, once."""
    token, file, made = kept_token()
    where = f"kept in {file}" if file is not None else "new with each run, since it cannot be kept"
    shown = f"{token} ({where})" if file is None or (made and sys.stderr.isatty()) else where
    log.info("http: other machines reach the page, which asks for a token: %s", shown)
    return token


def kept_token() -> tuple[str, Path | None, bool]:
    """The token of pages that other machines reach and that were given none: made once, then kept.

    Returns:
        The token; the file that keeps it, None where none can be written; whether it was made just now.
    """
    folder = state_folder()
    path = folder / "page-token"
    try:
        kept = path.read_text(encoding="ascii").strip()
        if kept:
            return kept, path, False
    except (OSError, UnicodeDecodeError):
        pass
    made = secrets.token_urlsafe(18)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="ascii") as file:
            file.write(made + "\n")
    except OSError:
        return made, None, True
    return made, path, True


def state_folder() -> Path:
    """Where what this machine keeps for itself lies."""
    given = os.environ.get("STATE_DIRECTORY", "").partition(":")[0]  # systemd's
    if given:
        return Path(given)
    base = os.environ.get("XDG_STATE_HOME", "")
    return (Path(base) if base.startswith("/") else Path.home() / ".local" / "state") / "irchroma"
