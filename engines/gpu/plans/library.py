"""TensorRT 10.12+ (Jetson: 10.3+), TensorRT 11 and TensorRT-RTX behind one class; the only file with their
imports.

Types live in the graph: networks are strongly typed and no precision flag is ever set, so that one ONNX file
means the same to all three. That is not the last word: TensorRT-RTX 1.7.1 turns a float32 convolution between
casts from and to float16 into a float16 one, weights and all. Hence the proof of precision after each build.

- One shape is set in the network itself, without a profile: only then does TensorRT say the types of all
  tensors, TensorRT-RTX needs no fallback kernels, and every kernel is chosen for the very shape.
- Without a GPU an engine cannot be loaded, so its inspector cannot be asked. The builder writes the same text
  to its log when it is done, if asked for it in detail: that is what `Built.layers` holds. Where a plan can
  be loaded, the loaded engine is asked (`TensorRT.inspect`), and that decides.
- TensorRT-RTX names targets 7.5, 8.0, 8.6, 8.9, 12.0 and 12.1 (`ComputeCapability`). Its documentation says
  of the default, portable plan "8.0, 8.6, 8.9, 12.0, and later"; 9.0 is listed nowhere and was not tried.
- Only TensorRT-RTX has built. TensorRT's calls and flags were looked up in its bindings, 10.13.3 and 11.4.0.
"""

from __future__ import annotations

import importlib.util
import logging
import platform
import re
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from irchroma.engines.cache import write_atomically
from irchroma.engines.errors import EngineError, EngineOptionError, EngineUnavailable, PlanError
from irchroma.engines.gpu.plans.callbacks import make_logger, make_monitor

log = logging.getLogger(__name__)


LIBRARIES = {"tensorrt": "tensorrt", "tensorrt-rtx": "tensorrt_rtx"}
"""Runtime as in `--runtime` -> the Python module, which is also its extra's name but for the dash."""
OLDEST = (10, 12)
"""Before TensorRT 10.12 weakly-typed networks were still usual, and some of the API here was not there."""
OLDEST_ON_JETSON = (10, 3)
"""Of JetPack 6, which no newer one can be installed on; it has every call that is used here."""

_MEMORY = re.compile(r"Total (Activation|Weights) Memory: (\d+) bytes")
_one_build = threading.Lock()  # a process has one TensorRT logger, and builds are told apart by it
_loggers: dict[str, Any] = {}

Size = tuple[int, int, int]
Progress = Callable[[float, str], None]


@dataclass(frozen=True, slots=True)
class Profile:
    """Sizes of one optimization profile, each (N, H, W); (N, 1, H, W) is what the network takes."""

    minimum: Size
    optimum: Size
    maximum: Size

    @property
    def static(self) -> bool:
        """It is one shape."""
        return self.minimum == self.maximum


@dataclass(frozen=True, slots=True)
class BuildRequest:
    """What to build.

    Attributes:
        onnx: a strongly-typed network.
        profile: one shape, or a range of them.
        shapes: of every input, where there are several: all of them of one shape, and the profile unused.
        level: how long kernels are searched for, 0 to 5; TensorRT's own default is 3.
        aux_streams: further streams that one run of the network may use beside its own; None for as many as
            the library likes. Each context makes them, and their events are part of every recorded frame.
        exact: float32 without TF32, which is a shorter mantissa; has no effect on float16.
        timing_cache: file that keeps measured kernel times; None for none. TensorRT only: in TensorRT-RTX it
            changes nothing and demands a GPU (release notes of 1.1).
        progress: called with the share done in [0, 1] and the phase's name, from the building thread.
    """

    onnx: Path
    profile: Profile
    level: int = 3
    aux_streams: int | None = 0
    exact: bool = False
    timing_cache: Path | None = None
    progress: Progress | None = None
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Built:
    """What came out.

    Attributes:
        plan: the serialized engine.
        layers: the engine's layers in the inspector's own words, as the builder wrote them at the end.
        convolutions: names of the network's convolutions.
        quantized: those of them that take a dequantized input, and so are to run in its 8-bit type.
        weights_bytes: device memory of the weights; None where the builder does not say it.
        activation_bytes: device memory of one execution context, of its largest shape; None as above.
        build_s: wall time in seconds.
    """

    plan: bytes
    layers: str
    convolutions: tuple[str, ...]
    quantized: tuple[str, ...]
    weights_bytes: int | None
    activation_bytes: int | None
    build_s: float


def oldest_tensorrt() -> tuple[int, int]:
    """Major and minor version of the oldest TensorRT that is taken on this machine."""
    return OLDEST_ON_JETSON if platform.machine() == "aarch64" else OLDEST


def installed(runtime: str) -> bool:
    """True where the runtime's Python package can be found; does not import it."""
    return importlib.util.find_spec(LIBRARIES[runtime]) is not None


class TensorRT:
    """One of the libraries. Builds run one at a time in a process; `build` blocks."""

    def __init__(self, runtime: str) -> None:
        """Import the library.

        Raises:
            EngineOptionError: no library has that name.
            EngineUnavailable: it is not installed, cannot be loaded, or is too old.
        """
        if runtime not in LIBRARIES:
            raise EngineOptionError(f"unknown runtime {runtime!r}: use {' or '.join(LIBRARIES)}")
        if not installed(runtime):
            raise EngineUnavailable(
                f"runtime {runtime} is not installed: run pip install 'irchroma[{runtime}]'"
            )
        self.runtime = runtime
        try:
            self.library = _import(runtime)
        except (ImportError, OSError) as error:
            raise EngineUnavailable(
                f"runtime {runtime} cannot be loaded: {str(error).splitlines()[0]}"
            ) from error
        self.version: str = self.library.__version__
        oldest = oldest_tensorrt()
        if runtime == "tensorrt" and tuple(map(int, self.version.split(".")[:2])) < oldest:
            raise EngineUnavailable(
                f"tensorrt {self.version} is too old: pip install 'irchroma[tensorrt]'"
                f" ({oldest[0]}.{oldest[1]} or newer)"
            )
        if runtime not in _loggers:
            _loggers[runtime] = make_logger(self.library)
        self._logger = _loggers[runtime]
        self._loader: Any = None  # must outlive the engines that it loads

    def build(self, request: BuildRequest) -> Built:
        """Compile a network.

        Raises:
            PlanError: the library refuses the file, an operator, a profile or the build; it says which.
            EngineUnavailable: the library wants a GPU and there is none.
        """
        with _one_build:
            self._logger.begin()
            start_s = time.monotonic()
            builder = self._builder()
            # Required by TensorRT 10, taken without effect by 11 and TensorRT-RTX.
            flag = self.library.NetworkDefinitionCreationFlag.STRONGLY_TYPED
            network = builder.create_network(1 << int(flag))
            self._parse(network, request.onnx)
            config = builder.create_builder_config()
            config.profiling_verbosity = self.library.ProfilingVerbosity.DETAILED
            if request.exact:
                config.clear_flag(self.library.BuilderFlag.TF32)
            config.builder_optimization_level = request.level
            if request.aux_streams is not None:
                config.max_aux_streams = request.aux_streams
            if self.runtime == "tensorrt-rtx":
                # "Required when using CUDA stream capture" (release notes of TensorRT-RTX 1.2).
                config.set_flag(self.library.BuilderFlag.REQUIRE_USER_ALLOCATION)
            if request.shapes:
                for index in range(network.num_inputs):
                    network.get_input(index).shape = request.shapes[network.get_input(index).name]
            elif request.profile.static:
                n, height, width = request.profile.optimum
                network.get_input(0).shape = (n, 1, height, width)
            else:
                self._add_profile(builder, config, network.get_input(0).name, request.profile)
            monitor = make_monitor(self.library, request.progress)
            config.progress_monitor = monitor
            cache = self._use_timing_cache(config, request.timing_cache)
            plan = builder.build_serialized_network(network, config)
            if monitor.interrupted:
                raise KeyboardInterrupt
            if plan is None:
                raise PlanError(f"{self._name} cannot build {request.onnx.name}: {self._logger.why()}")
            if cache is not None and request.timing_cache is not None:
                keep_timings(config, request.timing_cache)
            if request.progress is not None:
                request.progress(1.0, "done")  # the library's own steps end at five of six
            memory = _MEMORY.findall("\n".join(self._logger.kept))
            return Built(
                plan=bytes(plan),
                layers="\n".join(self._logger.kept),
                convolutions=convolution_names(self.library, network),
                quantized=quantized_names(self.library, network),
                weights_bytes=_largest(memory, "Weights"),
                activation_bytes=_largest(memory, "Activation"),
                build_s=time.monotonic() - start_s,
            )

    def load(self, plan: bytes | memoryview) -> Any:
        """The engine of a plan, ready for execution contexts. This object must outlive it.

        Raises:
            PlanError: the library does not take it here; without a driver, a plan of any kind.
        """
        # No `begin`: the logger is the process's, and another thread's build may be half written to it.
        said = len(self._logger.errors)
        if self._loader is None:
            self._loader = self.library.Runtime(self._logger)
        engine = None if self._loader is None else self._loader.deserialize_cuda_engine(plan)
        if engine is None:  # what these libraries do in place of raising
            raise PlanError(f"{self._name} does not load the plan on this machine: {self._logger.why(said)}")
        return engine

    def inspect(self, engine: Any, profile: Profile) -> str:
        """A loaded engine's layers in the inspector's own words, for the profile's middle shape.

        Raises:
            EngineError: the library makes no context for that shape.
        """
        inspector = engine.create_engine_inspector()
        if not profile.static:  # an engine of one shape needs no telling, nor a context
            context, _ = self.make_context(engine, None)
            n, height, width = profile.optimum
            context.set_input_shape(engine.get_tensor_name(0), (n, 1, height, width))
            inspector.execution_context = context
        return str(inspector.get_engine_information(self.library.LayerInformationFormat.ONELINE))

    def make_context(self, engine: Any, jit_cache: Path | None) -> tuple[Any, Any]:
        """An execution context whose memory the caller sets, and its cache of compiled kernels.

        No other kind: plans of TensorRT-RTX with REQUIRE_USER_ALLOCATION make none that takes its own.

        Args:
            engine: of `load`.
            jit_cache: file of an earlier `save_jit`; TensorRT-RTX alone compiles when a plan is loaded, which
                takes seconds, so TensorRT has no such cache and gives None.

        Raises:
            EngineError: the library makes none.
        """
        managed = self.library.ExecutionContextAllocationStrategy.USER_MANAGED
        cache, said = None, self.errors_said
        if self.runtime == "tensorrt-rtx":
            config = engine.create_runtime_config()
            config.set_execution_context_allocation_strategy(managed)
            # Recorded work would keep the fallback kernels for ever that a range of shapes begins with.
            eager = self.library.DynamicShapesKernelSpecializationStrategy.EAGER
            config.dynamic_shapes_kernel_specialization_strategy = eager
            cache = config.create_runtime_cache()
            if (
                jit_cache is not None
                and jit_cache.is_file()
                and not cache.deserialize(jit_cache.read_bytes())
            ):
                log.info("%s: of another device or version, made anew", jit_cache)
            config.set_runtime_cache(cache)
            context = engine.create_execution_context(config)
        else:
            context = engine.create_execution_context(managed)
        if context is None:
            raise EngineError(f"{self._name} makes no execution context: {self.why(said)}")
        return context, cache

    @property
    def errors_said(self) -> int:
        """How many errors the library has told since its last build; for `why`."""
        return len(self._logger.errors)

    def why(self, since: int) -> str:
        """The first error that the library has told after as many as `errors_said` were, in one line."""
        return self._logger.why(since)  # type: ignore[no-any-return]

    @property
    def _name(self) -> str:
        return f"{self.runtime} {self.version}"

    def _builder(self) -> Any:
        try:
            return self.library.Builder(self._logger)
        except (TypeError, RuntimeError) as error:  # the bindings' words for a factory that gave nothing
            raise EngineUnavailable(
                f"{self._name} cannot build here: {self._logger.why()}"
                " (--runtime tensorrt-rtx builds without a GPU)"
            ) from error

    def _parse(self, network: Any, path: Path) -> None:
        if not path.is_file():
            raise PlanError(f"{path}: no such file")
        parser = self.library.OnnxParser(network, self._logger)
        if parser.parse_from_file(str(path)):
            return
        found = []
        for index in range(parser.num_errors):
            error = parser.get_error(index)
            operator = error.node_operator()
            node = f"operator {operator} {error.node_name()}".strip() + ": " if operator else ""
            found.append(node + error.desc().replace("\n", " "))
        raise PlanError(f"{self._name} refuses {path.name}: {'; '.join(found) or self._logger.why()}")

    def _add_profile(self, builder: Any, config: Any, name: str, profile: Profile) -> None:
        made = builder.create_optimization_profile()
        sizes = [(n, 1, h, w) for n, h, w in (profile.minimum, profile.optimum, profile.maximum)]
        made.set_shape(name, *sizes)
        if config.add_optimization_profile(made) < 0:
            raise PlanError(f"{self._name} refuses the shapes {sizes}: {self._logger.why()}")

    def _use_timing_cache(self, config: Any, path: Path | None) -> Any:
        if path is None or self.runtime != "tensorrt":
            return None
        cache = config.create_timing_cache(path.read_bytes() if path.is_file() else b"")
        if not config.set_timing_cache(cache, False):  # of another device or version
            cache = config.create_timing_cache(b"")
            config.set_timing_cache(cache, False)
        return cache


def keep_timings(config: Any, path: Path) -> None:
    """Write what a builder's configuration has measured; without it the next build takes longer."""
    try:
        write_atomically(path, [bytes(config.get_timing_cache().serialize())])
    except OSError as error:
        log.warning("%s: %s", path, error)


def _import(runtime: str) -> Any:
    if runtime == "tensorrt":
        import tensorrt

        return tensorrt
    import tensorrt_rtx

    return tensorrt_rtx


def _largest(memory: list[tuple[str, str]], kind: str) -> int | None:
    return max((int(count) for name, count in memory if name == kind), default=None)


def convolution_names(library: Any, network: Any) -> tuple[str, ...]:
    """All convolutions, by their ONNX names."""
    return tuple(layer.name for layer in _convolutions(library, network))


def quantized_names(library: Any, network: Any) -> tuple[str, ...]:
    """Convolutions whose input comes out of a dequantizing layer."""
    made = {
        layer.get_output(0).name for layer in _layers(network) if layer.type == library.LayerType.DEQUANTIZE
    }
    return tuple(layer.name for layer in _convolutions(library, network) if layer.get_input(0).name in made)


def _convolutions(library: Any, network: Any) -> list[Any]:
    kinds = (library.LayerType.CONVOLUTION, library.LayerType.DECONVOLUTION)
    return [layer for layer in _layers(network) if layer.type in kinds]


def _layers(network: Any) -> list[Any]:
    return [network.get_layer(index) for index in range(network.num_layers)]
