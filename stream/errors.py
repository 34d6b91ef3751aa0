"""The errors of `irchroma.stream`.

StreamError
├── SourceError            a source cannot be opened or read (also OSError)
│   ├── SourceFormatError  its video is of a kind that is not supported (also ValueError)
│   ├── SourceRefused      it does not accept the user and password (also PermissionError)
│   └── SourceLost         a live source stopped; it may come back (also ConnectionError)
├── SinkError              a sink cannot be opened or written (also OSError)
└── StreamOptionError      an option's value makes no sense (also ValueError)
"""

import errno

NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
"""The errors of a file for which there is no room: the disk is full, or what its owner may have of it is."""


class StreamError(Exception):
    """Base of everything that `irchroma.stream` raises on purpose; its text is one clear line."""


class SourceError(StreamError, OSError):
    """A source cannot be opened or read."""


class SourceFormatError(SourceError, ValueError):
    """A source's video is of a kind that is not supported."""


class SourceLost(SourceError, ConnectionError):
    """A live source stopped or fell silent; it may come back."""


class SourceRefused(SourceError, PermissionError):
    """A source does not accept the user and password; one that is asked again and again locks the account."""


class SinkError(StreamError, OSError):
    """A sink cannot be opened or written.

    Attributes:
        told: a remark has said it already.
    """

    told = False


class StreamOptionError(StreamError, ValueError):
    """An option's value makes no sense."""
