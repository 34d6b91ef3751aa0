"""Reads an evidence file byte by byte and says whether it is as it was recorded, and where it is not."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from irchroma.stream.errors import SourceError
from irchroma.stream.media.matroska import (
    BLOCK,
    BLOCK_GROUP,
    CLUSTER,
    CUES,
    SIMPLE_BLOCK,
    TICK_NS,
    TIMESTAMP,
    Element,
    MatroskaError,
    as_begun,
    children,
    read_element,
    text_block,
    ticks_of,
    tracks_of,
)
from irchroma.stream.sinks.evidence import ledger
from irchroma.stream.sinks.evidence.evidence_file import COLOR, FACTS, FACTS_NS, RAW, RAW_NAME
from irchroma.stream.sinks.evidence.signing import fingerprint, is_signed

_LARGEST_BYTES = 1 << 29  # of one cluster
_HEAD_BYTES = 1 << 24
_CLUSTER_ID = CLUSTER.to_bytes(4, "big")
_LOOKED_AT_BYTES = 1 << 20


@dataclass(slots=True)
class Report:
    """What was found.

    Attributes:
        path: of the file.
        frames, colored: pictures of the untouched input, and of those of the color.
        seconds: how far it goes.
        head: the facts of the first entry.
        key: fingerprint of the key whose signatures it carries, empty for none.
        signatures: how many of them are right.
        unsigned: entries after the last signature.
        ended: whether it was finished in good order.
        faults: one line for each thing that is not as it was recorded.
    """

    path: str
    frames: int = 0
    colored: int = 0
    seconds: float = 0.0
    head: dict[str, Any] = field(default_factory=dict)
    key: str = ""
    signatures: int = 0
    unsigned: int = 0
    ended: bool = False
    faults: list[str] = field(default_factory=list)

    @property
    def whole(self) -> bool:
        """Whether all is there and nothing was changed."""
        return self.ended and not self.faults

    @property
    def line(self) -> str:
        """The result in one line."""
        about = (
            f"{self.frames} frames, {self.seconds:.2f} s, signed {self.signatures} times by key {self.key}"
        )
        if self.whole:
            return f"{self.path}: whole: {about}"
        cut = (
            f"the end is missing: cut short at {self.seconds:.2f} s, or still being recorded"
            f" ({self.unsigned} entries after the last signature)"
        )
        if not self.faults:
            return f"{self.path}: whole up to where it ends, but {cut}: {about}"
        more = f", and {len(self.faults) - 3} faults more" if len(self.faults) > 3 else ""
        faults = "; ".join(self.faults[:3])
        return f"{self.path}: NOT whole: {faults}{more}{'' if self.ended else '; ' + cut}; {about}"


@dataclass(frozen=True, slots=True)
class _Entry:
    """One entry that was read; `told` and `chain` as in `ledger.Line`."""

    told: bytes
    chain: bytes
    name: str


def verify(path: Path, public: bytes | None = None) -> Report:
    """Check every byte.

    Args:
        path: what `irchroma run --evidence` has written.
        public: the key that must have signed it, 32 bytes; None for the one that the file names.

    Raises:
        SourceError: it cannot be read, or is no such recording.
        StreamError: cryptography is not installed.
    """
    try:
        with path.open("rb") as file:
            if not any(track.name == RAW_NAME for track in tracks_of(file)):
                raise SourceError(f"{path}: is no evidence, which irchroma run --evidence writes")
            return _Check(path, file, public).run()
    except MatroskaError as error:
        raise SourceError(f"{path}: is no evidence, or its beginning is broken: {error}") from error
    except OSError as error:
        if isinstance(error, SourceError):
            raise
        raise SourceError(f"{path}: {(error.strerror or str(error)).lower()}") from error


class _Check:
    """One file's."""

    def __init__(self, path: Path, file: BinaryIO, public: bytes | None) -> None:
        self._file, self._wanted = file, public
        self._length = path.stat().st_size
        self._report = Report(str(path))
        self._since = hashlib.sha256()
        self._sure = True  # whether `_since` has all bytes since the last entry
        self._head = b""
        self._key = public
        self._entries: dict[int, _Entry] = {}
        self._last = -1
        self._out_of_order: list[int] = []

    def run(self) -> Report:
        """See `verify`."""
        at = self._read_head()
        while at < self._length:
            at = self._step(at)
        self._judge_order()
        if not self._entries:
            self._fault("there is no entry in it")
        return self._report

    def _fault(self, text: str) -> None:
        if text not in self._report.faults:
            self._report.faults.append(text)

    def _read_head(self) -> int:
        self._file.seek(0)
        data = self._file.read(_HEAD_BYTES)
        at = read_element(data, read_element(data, 0).end).start
        while at < len(data):
            found = read_element(data, at)
            if found.ident == CLUSTER or found.end < 0:
                break
            at = found.end
        self._head = data[:at]
        self._since.update(as_begun(self._head))
        return at

    def _step(self, at: int) -> int:
        """Check what begins there; gives where the next begins."""
        self._file.seek(at)
        try:
            found = read_element(self._file.read(12), 0, at)
            if self._report.ended:
                raise MatroskaError("")
            if found.ident not in (CLUSTER, CUES) or found.end < 0 or found.end - at > _LARGEST_BYTES:
                raise MatroskaError(f"the file is broken at byte {at}")
            if found.end > self._length:
                if self._next_cluster(found.start) < self._length:
                    raise MatroskaError(f"the file is broken at byte {at}")
                return self._length  # cut in the middle of it
            self._file.seek(at)
            data = self._file.read(found.end - at)
            if found.ident == CUES:
                self._since.update(data)
            else:
                self._cluster(data, found)
            return found.end
        except MatroskaError as error:
            if self._report.ended:
                self._fault(f"{self._length - at} bytes follow after its end")
                return self._length
            if self._length - at < 12:
                return self._length
            self._fault(str(error))
            self._sure = False
            return self._next_cluster(at + 1)

    def _next_cluster(self, at: int) -> int:
        """Where the next cluster may begin; the file's length where none does."""
        while at < self._length:
            self._file.seek(at)
            data = self._file.read(_LOOKED_AT_BYTES)
            place = data.find(_CLUSTER_ID)
            if place >= 0:
                return at + place
            at += max(1, len(data) - 3)
        return self._length

    def _cluster(self, data: bytes, found: Element) -> None:
        start = found.start - found.at
        parts = list(children(data, start))
        group = next((one for one, _ in parts if one.ident == BLOCK_GROUP), None)
        if group is None:
            self._since.update(data)
            return
        blocks = {
            payload[0] & 0x7F: payload[4:] for one, payload in parts if one.ident == SIMPLE_BLOCK and payload
        }
        time = next((int.from_bytes(payload, "big") for one, payload in parts if one.ident == TIMESTAMP), -1)
        known = all(one.ident in (TIMESTAMP, SIMPLE_BLOCK, BLOCK_GROUP) for one, _ in parts)
        inside = {one.ident: payload for one, payload in children(data[group.start : group.end])}
        block = inside.get(BLOCK, b"")
        line = ledger.parse(block[4:])
        self._since.update(data[: group.at])
        file_digest = self._since.hexdigest() if self._sure else ""
        self._since, self._sure = hashlib.sha256(), True
        if line is None:
            self._fault(f"the facts at {time * TICK_NS / 1e9:.3f} s cannot be read: they were changed")
            self._last += 1
            return
        try:
            shown_ns = int(line.facts.get("duration_ns", 0)) or FACTS_NS
            framed = data[group.at :] == text_block(FACTS, block[4:], shown_ns)
            framed = framed and known and time == ticks_of(int(line.facts.get("time_ns", -1)))
            self._entry(line, blocks, file_digest, framed)
        except (ValueError, TypeError):  # a number that is none any more
            self._fault(f"the facts at {time * TICK_NS / 1e9:.3f} s make no sense: they were changed")

    def _entry(self, line: ledger.Line, blocks: dict[int, bytes], file_digest: str, framed: bool) -> None:
        facts, report = line.facts, self._report
        number, name = int(facts.get("entry", -1)), _name_of(facts)
        report.seconds = max(report.seconds, int(facts.get("time_ns", 0)) / 1e9)
        report.frames += RAW in blocks
        report.colored += COLOR in blocks
        said = [self._packet(blocks.get(COLOR), facts.get("color"), f"the color of {name}")]
        said += [self._packet(blocks.get(RAW), facts.get("raw"), f"the untouched input of {name}")]
        around = file_digest != facts.get("file") if number == self._last + 1 and file_digest else False
        if not any(said) and (around or not framed):
            self._fault(f"bytes around the pictures of {name} were changed")
        if number == 0:
            self._first(facts)
        if number in self._entries:
            self._fault(f"{name} is there twice")
            return
        if number < self._last + 1:
            self._out_of_order.append(number)
        self._entries[number] = _Entry(line.told, line.chain, name)
        self._last = number
        self._signature(line, name)
        if facts.get("end") is True:
            self._end(facts)

    def _packet(self, data: bytes | None, digest: Any, name: str) -> bool:
        """Whether something is wrong with it."""
        found = None if data is None else hashlib.sha256(data).hexdigest()
        if found == digest:
            return False
        self._fault(f"{name} " + ("is missing" if data is None else "was changed"))
        return True

    def _first(self, facts: dict[str, Any]) -> None:
        self._report.head = {key: value for key, value in facts.items() if key not in ("entry", "file")}
        try:
            named = bytes.fromhex(str(facts.get("key", "")))
        except ValueError:
            named = b""
        if self._wanted is not None and named != self._wanted:
            self._fault(
                f"it names the key {fingerprint(named)}, not {fingerprint(self._wanted)}, which was expected"
            )
        self._key = self._wanted or named
        self._report.key = fingerprint(self._key)

    def _signature(self, line: ledger.Line, name: str) -> None:
        if not line.signature:
            self._report.unsigned += 1
            return
        if is_signed(self._key or b"", line.chain, line.signature):
            self._report.signatures += 1
            self._report.unsigned = 0
        else:
            self._fault(f"the signature at {name} is wrong")

    def _end(self, facts: dict[str, Any]) -> None:
        self._report.ended = True
        if hashlib.sha256(self._head).hexdigest() != facts.get("head"):
            self._fault("the file's head was changed")

    def _judge_order(self) -> None:
        numbers = sorted(self._entries)
        missing = set(range(numbers[-1] + 1 if numbers else 0)) - set(numbers)
        if missing and not any(
            "cannot be read" in fault or "broken" in fault for fault in self._report.faults
        ):
            self._fault(_missing(missing, self._entries))
        for number in self._out_of_order:
            self._fault(f"{self._entries[number].name} is out of its order")
        for number in numbers:
            before = self._chain_before(number)
            entry = self._entries[number]
            if before is not None and ledger.linked(before, entry.told) != entry.chain:
                self._fault(f"the facts of {entry.name} were changed, or what went before")

    def _chain_before(self, number: int) -> bytes | None:
        if number > 0:
            before = self._entries.get(number - 1)
            return before.chain if before is not None else None
        continued = self._report.head.get("continues")
        try:
            return bytes.fromhex(continued["chain"]) if isinstance(continued, dict) else ledger.START
        except (KeyError, ValueError, TypeError):
            return b""


def _name_of(facts: dict[str, Any]) -> str:
    at = f"at {int(facts.get('time_ns', 0)) / 1e9:.3f} s"
    if "frame" in facts:
        return f"frame {facts['frame']} {at}"
    if facts.get("entry") == 0:
        return "the beginning"
    return "the end" if facts.get("end") else f"the picture {at}"


def _missing(numbers: Iterable[int], entries: dict[int, _Entry]) -> str:
    ordered = sorted(numbers)
    sooner = [entries[n].name for n in sorted(entries) if n < ordered[0]]
    count = f"{len(ordered)} frames are" if len(ordered) > 1 else "a frame is"
    return f"{count} missing after {sooner[-1] if sooner else 'the beginning'}"
