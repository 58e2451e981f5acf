"""One family of errors. A message says what was expected, what came, and what to do."""


class LSTMKitError(Exception):
    """Base of every error that the input, the model or the machine is to blame for."""


class ShapeError(LSTMKitError, ValueError):
    """An array has the wrong shape, dtype or device; the message shows both sides."""


class OptionError(LSTMKitError, ValueError):
    """An option has a value that cannot be, or two options exclude each other."""


class DataError(LSTMKitError, ValueError):
    """A table or file holds something that cannot be learned from or predicted on."""


class ModelFileError(LSTMKitError, ValueError):
    """A model file is truncated, hostile, of another kind, or of a newer format."""


class EngineError(LSTMKitError, RuntimeError):
    """The engine that was asked for cannot do this case; the message says why."""


class MissingExtraError(LSTMKitError, ImportError):
    """A package of an optional extra is not installed; the message holds the command."""
