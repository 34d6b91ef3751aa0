"""What an H.264 stream says of its own damage: pictures that are missing for others, and slices.

Only headers are read: the sequence's and the picture's parameters, and the first words of each slice. A
decoder conceals both without a word where it can.

Reference: ITU-T H.264 (08/2021); clauses stand at the lines. Different here: a stream that empties its
memory of pictures in the middle (memory_management_control_operation 5) reads as one that lacks some.
"""

from __future__ import annotations

from dataclasses import dataclass

from irchroma.stream.errors import StreamError

_SLICE, _IDR, _SEQUENCE, _PICTURE = 1, 5, 7, 8  # table 7-1
_WITH_CHROMA_FORMAT = (100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135)  # 7.3.2.1.1
_HEADER_BYTES = 24
"""Enough for what is read of a slice's header."""
_LONGEST_CODE = 32
_START = b"\0\0\1"


class HeaderError(StreamError, ValueError):
    """Headers that end too soon or hold what none may."""


@dataclass(frozen=True, slots=True)
class _Sequence:
    """What is needed of a sequence parameter set.

    Attributes:
        frame_number_bits: of `frame_num`.
        gaps: whether numbers may be left out without anything missing (temporal layers).
        frames: no picture is a field.
        planes: the three planes are coded each by itself.
    """

    frame_number_bits: int
    gaps: bool
    frames: bool
    planes: bool


@dataclass(frozen=True, slots=True)
class CodedPicture:
    """What the headers of one coded picture say.

    Attributes:
        starts: number of the first macroblock of each slice, in order.
        missing: a picture that this one, or one after it, is drawn from has not come.
        lost_from: number of the first macroblock of a slice that the picture before had and this one has not;
            None where none is. It says something only of a picture that is known to be damaged: encoders that
            keep slices below a size begin them anew in every picture.
    """

    starts: tuple[int, ...]
    missing: bool
    lost_from: int | None


class H264Headers:
    """Reads the pictures of one stream in the order of decoding. Used by one thread."""

    def __init__(self) -> None:
        self._sequences: dict[int, _Sequence] = {}
        self._pictures: dict[int, int] = {}  # picture parameter set -> sequence parameter set
        self._length_bytes = 0  # before each NAL unit; 0: start codes
        self._number: int | None = None  # of the last reference picture
        self._usual: tuple[int, ...] = ()  # where the slices of the picture before began

    def reset(self) -> None:
        """The next picture does not follow the one before."""
        self._number, self._usual = None, ()

    def configure(self, record: bytes) -> None:
        """Take the decoder configuration record (ISO/IEC 14496-15, 5.3.3.1); empty: units have start codes.

        Raises:
            HeaderError: it is cut short.
        """
        self._length_bytes = 0
        if len(record) < 7:
            return
        self._length_bytes = (record[4] & 3) + 1
        at = 5
        for mask in (0x1F, 0xFF):
            count, at = record[at] & mask, at + 1
            for _ in range(count):
                size = int.from_bytes(record[at : at + 2], "big")
                self._parameters(record[at + 2 : at + 2 + size])
                at += 2 + size
                if at > len(record) or (mask == 0x1F and at == len(record)):
                    raise HeaderError("a decoder configuration record is cut short")

    def read(self, data: bytes) -> CodedPicture | None:
        """One coded picture, all of its NAL units; None where nothing can be said of it."""
        starts: list[int] = []
        number, key, reference, gaps = None, False, False, True
        bits = 0
        for unit in self._units(data):
            kind = unit[0] & 0x1F if unit else 0
            try:
                if kind in (_SEQUENCE, _PICTURE):
                    self._parameters(unit)
                if kind not in (_SLICE, _IDR):
                    continue
                start, number, sequence = self._slice(unit[: _HEADER_BYTES + 1])
            except (HeaderError, KeyError):
                continue
            if not sequence.frames:
                return None
            starts.append(start)
            key, reference = kind == _IDR, reference or bool(unit[0] & 0x60)
            gaps, bits = sequence.gaps, sequence.frame_number_bits
        if number is None:
            return None
        before = self._number
        follows = before is None or number in (before, (before + 1) % (1 << bits))  # 7.4.3
        missing = not key and not gaps and not follows
        if reference or missing:
            self._number = number
        return CodedPicture(tuple(starts), missing, self._lost_from(starts))

    def _lost_from(self, starts: list[int]) -> int | None:
        """Where all slices that came began where slices began before, and one of those did not come."""
        here = set(starts)
        lacking = sorted(set(self._usual) - here)
        if lacking and here <= set(self._usual):
            return lacking[0]
        self._usual = tuple(sorted(here))
        return 0 if min(here) > 0 else None

    def _units(self, data: bytes) -> list[bytes]:
        """The NAL units of an access unit, of each what headers may take."""
        units, at = [], 0
        if self._length_bytes:
            while at + self._length_bytes < len(data):
                size = int.from_bytes(data[at : at + self._length_bytes], "big")
                at += self._length_bytes
                units.append(data[at : at + size])
                at += size
            return units
        at = data.find(_START)
        while at >= 0:
            end = data.find(_START, at + 3)
            units.append(data[at + 3 : end if end >= 0 else len(data)])
            at = end
        return units

    def _parameters(self, unit: bytes) -> None:
        """Keep a parameter set."""
        bits = _Bits(unit[1:])
        if unit[0] & 0x1F == _PICTURE:
            number = bits.unsigned()
            self._pictures[number] = bits.unsigned()
            return
        profile = bits.read(24) >> 16
        number = bits.unsigned()
        planes = False
        if profile in _WITH_CHROMA_FORMAT:
            chroma = bits.unsigned()
            planes = chroma == 3 and bits.read(1) == 1
            bits.unsigned(), bits.unsigned()  # bit depths
            bits.read(1)
            if bits.read(1):
                for index in range(8 if chroma != 3 else 12):
                    if bits.read(1):
                        _skip_scaling_list(bits, 16 if index < 6 else 64)
        frame_number_bits = bits.unsigned() + 4
        order = bits.unsigned()
        if order == 0:
            bits.unsigned()
        elif order == 1:
            bits.read(1)
            bits.unsigned(), bits.unsigned()  # signed, of which the length is the same
            for _ in range(bits.unsigned()):
                bits.unsigned()
        bits.unsigned()  # reference frames
        gaps = bits.read(1) == 1
        bits.unsigned(), bits.unsigned()  # size
        self._sequences[number] = _Sequence(frame_number_bits, gaps, bits.read(1) == 1, planes)

    def _slice(self, unit: bytes) -> tuple[int, int, _Sequence]:
        """First macroblock, `frame_num` and sequence of a slice (7.3.3)."""
        bits = _Bits(unit[1:])
        start = bits.unsigned()
        bits.unsigned()  # type
        sequence = self._sequences[self._pictures[bits.unsigned()]]
        if sequence.planes:
            bits.read(2)
        return start, bits.read(sequence.frame_number_bits), sequence


class _Bits:
    """Reads a NAL unit's payload bit by bit."""

    def __init__(self, data: bytes) -> None:
        data = data.replace(b"\0\0\3", b"\0\0")  # 7.4.1: emulation prevention
        self._value, self._left = int.from_bytes(data, "big"), 8 * len(data)

    def read(self, count: int) -> int:
        """So many bits, u(n)."""
        if count > self._left:
            raise HeaderError("a header is cut short")
        self._left -= count
        return self._value >> self._left & ((1 << count) - 1)

    def unsigned(self) -> int:
        """Exp-Golomb, ue(v) (9.1)."""
        zeros = 0
        while not self.read(1):
            zeros += 1
            if zeros > _LONGEST_CODE:
                raise HeaderError("a header holds a number that none may be")
        return (1 << zeros) - 1 + self.read(zeros)

    def signed(self) -> int:
        """Exp-Golomb, se(v) (9.1.1)."""
        code = self.unsigned()
        return (code + 1) // 2 if code & 1 else -(code // 2)


def _skip_scaling_list(bits: _Bits, size: int) -> None:
    """7.3.2.1.1.1."""
    last = following = 8
    for _ in range(size):
        if following:
            following = (last + bits.signed()) % 256
        last = following or last
