"""lstmkit: train, explain and run Long Short-Term Memory networks.

The root is lazy (PEP 562): importing it loads neither torch nor NumPy. Each
name below is imported from its room on first use.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

# name -> the module that defines it; None marks a subpackage of the same name.
_LAZY: dict[str, str | None] = {
    "load": "lstmkit.runtime",
    "Classifier": "lstmkit.tasks.classification",
    "Forecaster": "lstmkit.tasks.forecasting",
    "Tagger": "lstmkit.tasks.tagging",
    "Translator": "lstmkit.tasks.translation",
    "LanguageModel": "lstmkit.tasks.language_modelling",
    "CellSpec": "lstmkit.spec",
    "LSTMKitError": "lstmkit.spec",
    "features": None,
    "interop": None,
    "nn": None,
    "ops": None,
    "plots": None,
    "reference": None,
    "runtime": None,
    "spec": None,
    "tasks": None,
    "training": None,
}

__all__ = ["__version__", *_LAZY]  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'lstmkit' has no attribute {name!r}")
    home = _LAZY[name]
    value = import_module(f"lstmkit.{name}") if home is None else getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
