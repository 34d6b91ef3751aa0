"""Options dataclasses to and from TOML, with errors that name the key and the nearest known one."""

from __future__ import annotations

import dataclasses
import difflib
import os
import stat
import sys
import types
import typing
from fractions import Fraction
from pathlib import Path
from typing import Any, TypeVar

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

T = TypeVar("T")


OF_MACHINE = "of_machine"
"""In a field's metadata: its default is found on the machine that runs, and belongs into no file."""


class ConfigError(ValueError):
    """A configuration cannot be used; the text says where, what was expected and what was found."""


_of_pipes: dict[tuple[int, int], str] = {}


def load_toml(path: Path) -> dict[str, Any]:
    """The tables of a TOML file; of a pipe (`--config <(..)`), which gives its text once, the same each time.

    The mark that editors on Windows begin UTF-8 with is no part of it.

    Raises:
        ConfigError: it is missing, unreadable or no TOML.
    """
    try:
        found = path.stat()
        if not stat.S_ISFIFO(found.st_mode):
            return parse_toml(path.read_text(encoding="utf-8-sig"), str(path))
        pipe = found.st_dev, found.st_ino
        if pipe not in _of_pipes:
            _of_pipes[pipe] = path.read_text(encoding="utf-8-sig")
        return parse_toml(_of_pipes[pipe], str(path))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not a TOML file: {shortened(str(error))}") from error


def parse_toml(text: str, where: str) -> dict[str, Any]:
    """The tables of a text; ConfigError where it is no TOML."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{where}: not a TOML file: {shortened(str(error))}") from error
    except RecursionError as error:
        raise ConfigError(f"{where}: not a configuration: nested too deeply") from error


def shortened(text: str, longest: int = 120) -> str:
    """The text, or its beginning where an error that repeats it would fill the screen."""
    return text if len(text) <= longest else f"{text[:longest]}... ({len(text)} characters)"


def _told(value: Any) -> str:
    """A value of the wrong kind, for an error."""
    try:
        return shortened(repr(value))
    except (RecursionError, ValueError):  # nested too deeply, or a number of thousands of digits
        return f"a {type(value).__name__} that is too large to show"


def nearest(word: str, known: list[str]) -> str:
    """`, did you mean X?` for the nearest known word, or the list of all when none is near."""
    close = difflib.get_close_matches(word[:120], known, n=1, cutoff=0.6)
    return f", did you mean {close[0]}?" if close else f"; known: {', '.join(sorted(known))}"


def from_table(cls: type[T], table: dict[str, Any], base: T | None = None, where: str = "") -> T:
    """An options dataclass from a TOML table; keys left out keep `base`'s value or the default.

    Nested dataclasses are tables within.

    Raises:
        ConfigError: a key is unknown or its value of another type; options' own ValueErrors pass.
    """
    hints = typing.get_type_hints(cls)
    fields = {f.name: f for f in dataclasses.fields(cls) if f.init}  # type: ignore[arg-type]
    values: dict[str, Any] = {}
    for key, value in table.items():
        name = key.replace("-", "_")
        if name not in fields:
            beside = () if where else getattr(cls, "BESIDE", ())
            if name in beside and not isinstance(value, dict | list):
                raise ConfigError(f"{key}: expected a table, got {_told(value)}")
            if name in beside:
                raise ConfigError(f"{key}: is for several cameras, each in a table of its own: [[cameras]]")
            raise ConfigError(f"unknown key {where}{shortened(key)}{nearest(name, [*fields, *beside])}")
        values[name] = _converted(value, hints[name], f"{where}{key}", getattr(base, name, None))
    return dataclasses.replace(base, **values) if base is not None else cls(**values)  # type: ignore[type-var]


def from_file(cls: type[T], path: Path) -> T:
    """The same from a TOML file, which is named where something is wrong in it.

    Raises:
        ConfigError: as `load_toml` and `from_table`, or the options' own word.
    """
    table = load_toml(path)
    try:
        return from_table(cls, table)
    except ValueError as error:
        raise ConfigError(f"{path}: {error}") from error


def to_toml(options: Any, table: str = "", listed: bool = False) -> str:
    """The effective configuration as TOML that `from_table` reads back; unset (None) keys as comments.

    Args:
        options: a dataclass.
        table: the name of the table that it is written as; empty for the file's top.
        listed: it is one of several tables of that name.
    """
    lines = _toml_lines(options, f"{table}." if table else "")
    if table:
        lines.insert(0, f"[[{table}]]" if listed else f"[{table}]")
    return "\n".join(lines) + "\n"


def _toml_lines(options: Any, prefix: str) -> list[str]:
    scalars, tables = [], []
    for field in dataclasses.fields(options):
        value = getattr(options, field.name)
        if dataclasses.is_dataclass(value):
            name = f"{prefix}{field.name}"
            inner = _toml_lines(value, f"{name}.")
            tables += ["", *_explained(value), f"[{name}]", *inner]
        elif field.metadata.get(OF_MACHINE) and value == _default(field):
            scalars.append(f"# {field.name} is this machine's own")
        elif value is None:
            scalars.append(f"# {field.name} is not set")
        else:
            scalars.append(f"{field.name} = {_toml_value(value)}")
    return scalars + tables


def _explained(options: Any) -> list[str]:
    """The first line of what a table's options say of themselves, as a comment."""
    first = (type(options).__doc__ or "").partition("\n")[0]
    return [f"# {first}"] if first and not first.startswith(type(options).__name__) else []


def _default(field: dataclasses.Field[Any]) -> Any:
    factory = field.default_factory
    return field.default if factory is dataclasses.MISSING else factory()


def _toml_value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)  # TOML writes inf and nan as Python does
    if dataclasses.is_dataclass(value):
        fields = {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
        known = [f"{name} = {_toml_value(part)}" for name, part in fields.items() if part is not None]
        return "{ " + ", ".join(known) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_toml_value(part) for part in value) + "]"
    text = str(value).replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{text}"'


def _converted(value: Any, kind: Any, where: str, base: Any = None) -> Any:
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        own = where.rpartition(".")[2].replace("-", "_")
        if isinstance(value, str) and own in {field.name for field in dataclasses.fields(kind)}:
            value = {own: value}  # view = "wipe" is [view] with view = "wipe" in it
        if not isinstance(value, dict):
            raise ConfigError(f"{where}: expected a table, got {_told(value)}")
        return from_table(kind, value, base, f"{where}.")
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        problems = []
        for option in args:
            if option is type(None):
                if value is None:
                    return None
                continue
            try:
                return _converted(value, option, where, base)
            except ConfigError as error:
                problems.append(error)
        raise problems[0]
    if origin is typing.Literal:
        if value in args:
            return value
        known = [str(option) for option in args]
        raise ConfigError(f"{where}: expected one of {', '.join(known)}, got {_told(value)}")
    if origin in (list, tuple):
        return _sequence(value, origin, args, where)
    if kind is Any:
        return value
    return _scalar(value, kind, where)


def _sequence(value: Any, origin: Any, args: tuple[Any, ...], where: str) -> Any:
    if isinstance(value, str) or not isinstance(value, list | tuple):
        key = where.rpartition(".")[2]
        hint = f": write {key} = [{_toml_value(value)}]" if isinstance(value, str) and len(value) < 60 else ""
        raise ConfigError(f"{where}: expected a list, got {_told(value)}{hint}")
    if origin is tuple and args and args[-1] is not Ellipsis:
        if len(value) != len(args):
            raise ConfigError(f"{where}: expected {len(args)} values, got {len(value)}")
        return tuple(_converted(v, a, where) for v, a in zip(value, args, strict=True))
    return origin(_converted(v, args[0] if args else Any, where) for v in value)


def _scalar(value: Any, kind: Any, where: str) -> Any:
    problem = ConfigError(f"{where}: expected {_KIND_NAMES.get(kind, kind.__name__)}, got {_told(value)}")
    if kind is bool:
        if not isinstance(value, bool):
            raise problem
        return value
    if isinstance(value, bool):
        raise problem
    if kind is float and isinstance(value, int | float):
        return float(value)
    if kind in (str, Path) and isinstance(value, str):
        return kind(_at_home(value))
    if kind is int and isinstance(value, int):
        return value
    if kind is Fraction and isinstance(value, str | int | float):
        try:
            return Fraction(str(value))
        except (ValueError, ZeroDivisionError):
            raise problem from None
    raise problem


def _at_home(text: str) -> str:
    """With the home folder for `~/` at its head, as a shell would have it, which sees no configuration file
    and leaves `--to=~/night.mp4` as it is."""
    scheme = next((scheme for scheme in ("hls:", "raw:") if text.startswith(f"{scheme}~/")), "")
    name = text.removeprefix(scheme)
    return scheme + os.path.expanduser(name) if name.startswith("~/") else text


_KIND_NAMES = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a text",
    Path: "a path",
    Fraction: "a rate such as 30 or 30000/1001",
}


def dotted_keys(table: dict[str, Any], prefix: str = "") -> set[str]:
    """`neural.size` and the like: the keys of a TOML file."""
    found = set()
    for key, value in table.items():
        name = f"{prefix}{key.replace('-', '_')}"
        found |= dotted_keys(value, f"{name}.") if isinstance(value, dict) else {name}
    return found
