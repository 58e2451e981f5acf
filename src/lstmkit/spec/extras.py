"""The optional extras as data, and the one way to import from them.

``pyproject.toml`` declares the same table; a test holds the two together.
"""

from importlib import import_module
from types import ModuleType

from lstmkit.spec.errors import MissingExtraError

# extra -> the modules that it brings and that lstmkit imports.
EXTRAS: dict[str, tuple[str, ...]] = {
    "train": ("torch", "accelerate", "rich"),
    "forecast": ("torch", "accelerate", "rich", "narwhals", "pandas", "pyarrow", "statsforecast", "typer"),
    "plot": ("matplotlib",),
    "convert": ("h5py", "onnx", "typer"),
    "text": ("torch", "accelerate", "rich", "tokenizers", "sacrebleu", "pyarrow", "typer"),
    "tune": ("torch", "accelerate", "rich", "optuna", "typer"),
}


def install_command(extra: str) -> str:
    """The command that installs an extra."""
    return f"pip install 'lstmkit[{extra}]'"


def import_extra(module: str, extra: str) -> ModuleType:
    """Import ``module``, or say which extra brings it.

    Raises:
        MissingExtraError: the module's package is not installed.

    Example:
        >>> import_extra("json", "train").dumps([1])
        '[1]'
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        root = module.partition(".")[0]
        if error.name is None or error.name.partition(".")[0] != root:
            raise
        raise MissingExtraError(
            f"this needs the package {root!r}, which is not installed; run: {install_command(extra)}"
        ) from None
