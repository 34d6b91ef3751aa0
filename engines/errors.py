"""The errors of `irchroma.engines`.

EngineError
├── EngineUnavailable   a runtime, its library or its weights are not on this machine (also RuntimeError)
│   └── DeviceLost      a GPU whose context is broken until this process ends
├── EngineOptionError   an option's value makes no sense (also ValueError)
└── PlanError           a TensorRT plan cannot be built, read or used
"""


class EngineError(Exception):
    """Base of everything that `irchroma.engines` raises on purpose; its text is one clear line."""


class EngineUnavailable(EngineError, RuntimeError):
    """A runtime, its library or its weights are not on this machine."""


class DeviceLost(EngineUnavailable):
    """A GPU has failed in a way that breaks its context for all of this process: only a restart helps."""


class EngineOptionError(EngineError, ValueError):
    """An option's value makes no sense."""


class PlanError(EngineError):
    """A TensorRT plan cannot be built, read or used as it is."""
