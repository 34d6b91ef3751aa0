"""One evidence file: pictures, sound and facts written entry by entry, each linked to the one before."""

from __future__ import annotations

import hashlib
import os
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from irchroma.stream.media.matroska import Head, Packet, Track, cluster_head, cues, simple_block, text_block
from irchroma.stream.sinks.evidence import ledger
from irchroma.stream.sinks.evidence.signing import Signer, fingerprint
from irchroma.stream.sinks.files.exclusive import Place

COLOR, RAW, FACTS, SOUND = 1, 2, 3, 4
"""Track numbers."""
RAW_NAME = "untouched input"
SIGNED_NS = 1_000_000_000
"""A signature at least that often: what is lost of one when the power fails."""
_2001_S = 978_307_200  # 2001-01-01 in Unix time
_NO_DIGEST = "0" * 64
FACTS_NS = 1_000_000  # shown for so long where an entry has no duration


@dataclass(frozen=True, slots=True)
class Coded:
    """One coded picture.

    Attributes:
        time_ns, duration_ns: in the file's time.
        data: the packet.
        key: whether decoding may begin with it.
    """

    time_ns: int
    duration_ns: int
    data: bytes
    key: bool


@dataclass(frozen=True, slots=True)
class Before:
    """The file that a file goes on from.

    Attributes:
        name: its name without folders, empty for none.
        chain: its last link.
    """

    name: str = ""
    chain: bytes = ledger.START


@dataclass(frozen=True, slots=True)
class About:
    """What the head of a file says of the whole.

    Attributes:
        facts: of the run, for the first entry.
        program: what writes it.
        before: the file that it goes on from.
    """

    facts: dict[str, Any] = field(default_factory=dict)
    program: str = "irchroma"
    before: Before = field(default_factory=Before)


class EvidenceFile:
    """Written to by one thread at a time; at any moment what is on the disk plays, and verifies up to there.

    Attributes:
        path: where it is.
        frames: pictures of the untouched input so far.

    Raises:
        OSError: from every method, when the disk takes no more.
    """

    def __init__(self, path: Path, tracks: dict[int, Track], about: About, signer: Signer) -> None:
        self.path, self._signer, self._about = path, signer, about
        self._chain, self._number, self.frames, self._colored = about.before.chain, 0, 0, 0
        self._signed_ns, self._end_ns = -SIGNED_NS, 0
        self._cues: list[tuple[int, int, int]] = []
        self._head = Head(tracks, about.program, time.time_ns() - _2001_S * 10**9)
        mode = os.O_RDWR | os.O_CREAT | os.O_TRUNC
        self._file = open(os.open(path, mode, 0o600), "r+b", buffering=0)  # noqa: SIM115 (until finish)
        self._place = Place(path, self._file.fileno())
        self._syncing = ThreadPoolExecutor(1, thread_name_prefix="evidence sync")
        self._synced: Future[None] | None = None
        self._length = 0
        self._since = hashlib.sha256()
        self._write(self._head.begun())
        first: dict[str, Any] = {"evidence": 1, "key": signer.public.hex(), **about.facts}
        if about.before.name:
            first["continues"] = {"file": about.before.name, "chain": about.before.chain.hex()}
        self._enter(0, 0, first, [], signed=True)

    @property
    def last(self) -> Before:
        """For the file that goes on from here."""
        return Before(self.path.name, self._chain)

    def add(
        self, time_ns: int, facts: dict[str, Any], color: Coded | None = None, raw: Coded | None = None
    ) -> None:
        """One entry; times never go back."""
        packets = [
            Packet(track, coded.data, coded.key)
            for track, coded in ((COLOR, color), (RAW, raw))
            if coded is not None
        ]
        if color is not None and color.key:
            self._cues.append((time_ns, COLOR, self._length - self._head.segment_at))
        self.frames += raw is not None
        self._colored += color is not None
        ends = [coded.time_ns + max(0, coded.duration_ns) for coded in (color, raw) if coded is not None]
        duration_ns = max([end - time_ns for end in ends] or [0])
        self._end_ns = max(self._end_ns, time_ns + duration_ns)
        self._enter(time_ns, duration_ns, facts, packets, time_ns - self._signed_ns >= SIGNED_NS)

    def add_sound(self, time_ns: int, data: bytes) -> None:
        """One piece of coded sound."""
        block = simple_block(Packet(SOUND, data))
        self._write(cluster_head(time_ns, len(block)) + block)

    @property
    def end_ns(self) -> int:
        """Where its last picture ends, in its own time."""
        return self._end_ns

    def abandon(self) -> None:
        """Leave it as it is."""
        self._syncing.shutdown()
        self._file.close()

    def finish(self) -> None:
        """Write the index and the last entry, which covers the finished head; may be called twice."""
        if self._file.closed:
            return
        cues_at = self._length
        if self._cues:
            self._write(cues(self._cues))
        facts = {"end": True, "frames": self.frames, "colored": self._colored}
        head = b""
        for _ in range(2):  # the first time for the length alone
            digest = hashlib.sha256(head).hexdigest() if head else _NO_DIGEST
            packed, chain = self._packed(self._end_ns, 0, {**facts, "head": digest}, [], signed=True)
            head = self._head.finished(self._length + len(packed), cues_at, self._end_ns)
        packed, chain = self._packed(
            self._end_ns, 0, {**facts, "head": hashlib.sha256(head).hexdigest()}, [], signed=True
        )
        self._append(packed)
        self._chain = chain
        self._file.seek(0)
        self._file.write(head)
        self._syncing.shutdown()
        os.fsync(self._file.fileno())
        gone = None if self._place.kept else self._place.gone(self.frames)
        self._file.close()
        if gone is not None:
            raise gone

    def _enter(
        self, time_ns: int, duration_ns: int, facts: dict[str, Any], packets: list[Packet], signed: bool
    ) -> None:
        packed, self._chain = self._packed(time_ns, duration_ns, facts, packets, signed)
        self._append(packed)
        self._since = hashlib.sha256()
        self._number += 1
        if signed:
            self._signed_ns = time_ns
            self._sync()

    def _sync(self) -> None:
        """What is signed shall outlast a loss of power; on a thread of its own, as disks may take a second.

        Raises:
            OSError: the disk could not keep what it was given before.
            SinkError: the file is no longer there.
        """
        self._place.look(self.frames)
        if self._synced is not None:
            if not self._synced.done():
                return
            self._synced.result()
        self._synced = self._syncing.submit(os.fsync, self._file.fileno())

    def _packed(
        self, time_ns: int, duration_ns: int, facts: dict[str, Any], packets: list[Packet], signed: bool
    ) -> tuple[bytes, bytes]:
        """The cluster of an entry, and its chain."""
        digests = {
            name: hashlib.sha256(packet.data).hexdigest()
            for packet in packets
            for name in [("color" if packet.track == COLOR else "raw")]
        }
        times = {"time_ns": time_ns, "duration_ns": duration_ns}
        said = {"entry": self._number, **times, **facts, **digests, "file": _NO_DIGEST}
        shown_ns = duration_ns or FACTS_NS
        blank = ledger.line(ledger.told(said), bytes(32), bytes(64) if signed else b"")
        blocks = b"".join(simple_block(packet) for packet in packets)
        room = len(text_block(FACTS, blank, shown_ns))
        before = cluster_head(time_ns, len(blocks) + room) + blocks
        around = self._since.copy()
        around.update(before)
        told = ledger.told({**said, "file": around.hexdigest()})
        chain = ledger.linked(self._chain, told)
        line = ledger.line(told, chain, self._signer.sign(chain) if signed else b"")
        return before + text_block(FACTS, line, shown_ns), chain

    def _write(self, data: bytes) -> None:
        self._since.update(data)
        self._append(data)

    def _append(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[self._file.write(view) or 0 :]
        self._length += len(data)


def key_name(signer: Signer) -> str:
    """For logs."""
    return fingerprint(signer.public)
