"""Libraries of the scientific stack: random streams, options. None is imported to look at it."""

from __future__ import annotations

import importlib
import sys
import warnings
from typing import Any

from .adapter import Builtin
from .plain import ATOMS, Inexpressible, plain, reference, unplain

# -- numpy -----------------------------------------------------------------------------------------

# The generator that came with the library, and the state that it was born with.
_born: tuple[object, object] | None = None


def _read_numpy_random() -> object | None:
    mtrand: Any = sys.modules.get("numpy.random.mtrand")
    if mtrand is None:
        return None
    source = mtrand._rand._bit_generator
    state = _arrays_as_bytes(mtrand._rand.get_state(legacy=False))
    return ["entropy"] if state == _birth(source) else state


def _birth(source: Any) -> object:
    """Return the state that entropy gave to the library's own generator, or None if it was seeded since."""
    global _born  # noqa: PLW0603 - one per process, as the generator is
    sequence = source.seed_seq
    # Entropy has 128 bits and makes a Mersenne twister; anything else was chosen by somebody.
    if sequence is None or type(source).__name__ != "MT19937" or int(sequence.entropy).bit_length() <= 64:
        return None
    if _born is None:
        # Seeding forgets the sequence that a generator was born of; an unseeded one can be born again.
        random: Any = sys.modules["numpy.random"]
        twin = random.RandomState(type(source)(sequence))
        _born = (source, _arrays_as_bytes(twin.get_state(legacy=False)))
    return _born[1] if _born[0] is source else None


def _arrays_as_bytes(state: Any) -> Any:
    if isinstance(state, dict):
        return {key: _arrays_as_bytes(item) for key, item in state.items()}
    if hasattr(state, "tobytes") and hasattr(state, "dtype"):
        return {"@array": [state.dtype.str, state.tobytes()]} if state.ndim else state.item()
    return plain(state)


def _bytes_as_arrays(state: Any) -> Any:
    import numpy

    if isinstance(state, dict) and "@array" in state:
        kind, content = state["@array"]
        return numpy.frombuffer(content, kind).copy()
    if isinstance(state, dict) and "@int" not in state:
        return {key: _bytes_as_arrays(item) for key, item in state.items()}
    return unplain(state)


def _write_numpy_random(value: Any) -> None:
    global _born  # noqa: PLW0603
    import numpy.random

    random: Any = numpy.random
    if value == ["entropy"]:
        if _read_numpy_random() != value:
            _born = None
            random.set_bit_generator(random.MT19937())
        return
    generator = random.mtrand._rand
    if type(generator._bit_generator).__name__ != value["bit_generator"]:
        random.set_bit_generator(getattr(random, value["bit_generator"])())
        generator = random.mtrand._rand
    generator.set_state(_bytes_as_arrays(value))


def _read_numpy() -> object | None:
    numpy = sys.modules.get("numpy")
    if numpy is None or not hasattr(numpy, "get_printoptions"):
        return None
    return {
        "print": {
            key: item if type(item) in ATOMS else plain(item)
            for key, item in numpy.get_printoptions().items()
        },
        "errors": numpy.geterr(),
        "error call": plain(numpy.geterrcall()),
        "buffer": numpy.getbufsize(),
        "generator": _generator(),
    }


def _generator() -> str | None:
    """The kind of the library's own generator: whether ``seed`` says all about its state depends on it."""
    mtrand: Any = sys.modules.get("numpy.random.mtrand")
    return type(mtrand._rand._bit_generator).__name__ if mtrand is not None else None


def _write_numpy(value: Any) -> None:
    import numpy

    now = numpy.get_printoptions()
    shown: dict[str, Any] = {
        key: unplain(item) for key, item in value["print"].items() if not Inexpressible.inside(item)
    }
    numpy.set_printoptions(**{key: item for key, item in shown.items() if now.get(key) != item})
    numpy.seterr(**value["errors"])
    if not Inexpressible.inside(value["error call"]):
        numpy.seterrcall(unplain(value["error call"]))
    if numpy.getbufsize() != value["buffer"]:
        numpy.setbufsize(value["buffer"])
    if value["generator"] not in (None, _generator()):
        random: Any = numpy.random
        random.set_bit_generator(getattr(random, value["generator"])())


# -- torch -----------------------------------------------------------------------------------------


def _torch() -> Any:
    torch = sys.modules.get("torch")
    return torch if torch is not None and hasattr(torch, "set_printoptions") else None


def _read_torch_random() -> object | None:
    torch = _torch()
    if torch is None:
        return None
    state = [torch.default_generator.get_state().numpy().tobytes()]
    if torch.cuda.is_initialized():
        state += [device.cpu().numpy().tobytes() for device in torch.cuda.get_rng_state_all()]
    return state


def _write_torch_random(value: Any) -> None:
    import torch

    states = [torch.frombuffer(bytearray(content), dtype=torch.uint8) for content in value]
    torch.set_rng_state(states[0])
    if len(states) > 1:
        torch.cuda.set_rng_state_all(states[1:])


def _read_torch() -> object | None:
    torch = _torch()
    if torch is None:
        return None
    shown = torch._tensor_str.PRINT_OPTS
    return {
        "dtype": str(torch.get_default_dtype()),
        "device": str(torch.get_default_device()),
        "gradients": torch.is_grad_enabled(),
        "deterministic": [
            torch.are_deterministic_algorithms_enabled(),
            torch.is_deterministic_algorithms_warn_only_enabled(),
        ],
        "threads": torch.get_num_threads(),
        "cudnn": [torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark],
        "matmul": torch.get_float32_matmul_precision(),
        "print": [shown.precision, shown.threshold, shown.edgeitems, shown.linewidth, shown.sci_mode],
    }


def _write_torch(value: Any) -> None:
    import torch

    torch.set_default_dtype(getattr(torch, value["dtype"].removeprefix("torch.")))
    if str(torch.get_default_device()) != value["device"]:
        torch.set_default_device(value["device"])
    torch.set_grad_enabled(value["gradients"])
    on, warn_only = value["deterministic"]
    torch.use_deterministic_algorithms(on, warn_only=warn_only)
    if torch.get_num_threads() != value["threads"]:
        torch.set_num_threads(value["threads"])
    torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = value["cudnn"]
    torch.set_float32_matmul_precision(value["matmul"])
    precision, threshold, edge, width, scientific = value["print"]
    torch.set_printoptions(precision, threshold, edge, width, None, scientific)
    torch._tensor_str.PRINT_OPTS.sci_mode = scientific  # set_printoptions takes None for "as it was"


# -- pandas ----------------------------------------------------------------------------------------


def _read_pandas() -> object | None:
    config = sys.modules.get("pandas._config.config")
    if config is None or "pandas.core.config_init" not in sys.modules:
        return None
    return _options("", config._global_config, {})


def _options(prefix: str, options: dict[str, Any], found: dict[str, object]) -> dict[str, object]:
    for name, item in options.items():
        kind = type(item)
        if kind is dict:
            _options(prefix + name + ".", item, found)
        else:
            found[prefix + name] = item if kind in ATOMS else plain(item)
    return found


def _write_pandas(value: Any) -> None:
    import pandas

    now = _read_pandas()
    assert isinstance(now, dict)
    for key, wanted in value.items():
        if key in now and now[key] != wanted and not Inexpressible.inside(wanted):
            with warnings.catch_warnings():  # some options are deprecated and say so when they are set
                warnings.simplefilter("ignore")
                pandas.set_option(key, unplain(wanted))


_ACCESSORS = frozenset({"plot", "sparse", "cat", "str", "dt", "list", "struct"})
_PROGRESS = ("DataFrame", "Series")


def _read_pandas_additions() -> object | None:
    pandas = sys.modules.get("pandas")
    if pandas is None or not hasattr(pandas, "DataFrame"):
        return None
    added: dict[str, object] = {}
    for name in ("DataFrame", "Series", "Index"):
        owner = getattr(pandas, name)
        for accessor in sorted(owner._accessors - _ACCESSORS):
            added[f"{name}.{accessor}"] = reference(vars(owner)[accessor]._accessor)
        progress = vars(owner).get("progress_apply")
        if progress is not None:  # tqdm.pandas(): a function made for the bar that was asked for
            added[f"{name}.progress_apply"] = Inexpressible.of(progress)
    return added


# -- scikit-learn ------------------------------------------------------------------------------------


def _read_sklearn() -> object | None:
    config = sys.modules.get("sklearn._config")
    return None if config is None else plain(config.get_config())


def _write_sklearn(value: Any) -> None:
    import sklearn

    now = _read_sklearn()
    assert isinstance(now, dict)
    differing = {
        key: unplain(item)
        for key, item in value.items()
        if now.get(key) != item and not Inexpressible.inside(item)
    }
    if differing:
        sklearn.set_config(**differing)


_ESTIMATORS_SHOWN = "sklearn.utils._repr_html.estimator"
_COUNTERS = ("_CONTAINER_ID_COUNTER", "_ESTIMATOR_ID_COUNTER")


def _read_sklearn_numbers() -> object | None:
    """How many estimators were shown: each gets a number, by which its own script and style find it in the page."""
    shown = sys.modules.get(_ESTIMATORS_SHOWN)
    if shown is None or not all(hasattr(shown, name) for name in _COUNTERS):
        return None
    return [getattr(shown, name).count for name in _COUNTERS]


def _write_sklearn_numbers(value: Any) -> None:
    shown = importlib.import_module(_ESTIMATORS_SHOWN)
    for name, count in zip(_COUNTERS, value, strict=True):
        getattr(shown, name).count = count


def _nothing(_: object) -> None:
    """Restore nothing: what a library was given as additions can only be recomputed."""


_NUMPY, _TORCH = frozenset({"numpy"}), frozenset({"torch"})
_PANDAS, _SKLEARN = frozenset({"pandas"}), frozenset({"sklearn"})

SLOTS = (
    Builtin(
        "numpy.random",
        _read_numpy_random,
        _write_numpy_random,
        "rng",
        _NUMPY,
        lambda: frozenset({"get_state", "get_bit_generator", "_rand", "mtrand"}),
        frozenset({"seed", "set_state", "set_bit_generator"}),
    ),
    Builtin(
        "torch.random",
        _read_torch_random,
        _write_torch_random,
        "rng",
        _TORCH,
        lambda: frozenset({"get_rng_state", "get_rng_state_all", "initial_seed", "default_generator"}),
        frozenset({"manual_seed", "set_rng_state", "set_rng_state_all", "seed_everything", "set_seed"}),
    ),
    Builtin("numpy settings", _read_numpy, _write_numpy, packages=_NUMPY),
    Builtin("torch settings", _read_torch, _write_torch, packages=_TORCH),
    Builtin("pandas options", _read_pandas, _write_pandas, packages=_PANDAS),
    Builtin("pandas additions", _read_pandas_additions, _nothing, packages=_PANDAS),
    Builtin("sklearn config", _read_sklearn, _write_sklearn, packages=_SKLEARN),
    # kept as a stream is: what it was counts for a cell that takes a number of it
    Builtin("sklearn numbers", _read_sklearn_numbers, _write_sklearn_numbers, "rng", _SKLEARN),
)
