"""The errors of `irchroma.engines`.

EngineError
├── EngineUnavailable   a runtime, its library or its weights are not on this machine (also RuntimeError)
│   └── DeviceLost      a GPU whose context is broken until this process ends
├── EngineOptionError   an option's value makes no sense (also ValueError)
└── PlanError           a TensorRT plan cannot be built, read or used
"""


class EngineError(Exception):
    """Base of everything that `irchroma.engines` raises on purpose; its text is one clear line.

    Attributes:
        lasts: whether another try on this machine would end in the same way.
    """

    lasts = False


class EngineUnavailable(EngineError, RuntimeError):
    """A runtime, its library or its weights are not on this machine."""

    lasts = True


class DeviceLost(EngineUnavailable):
    """A GPU has failed in a way that breaks its context for all of this process: only a restart helps."""

    lasts = False  # another device may color


class EngineOptionError(EngineError, ValueError):
    """An option's value makes no sense."""

    lasts = True


class PlanError(EngineError):
    """A TensorRT plan cannot be built, read or used as it is."""

    lasts = True
