"""What the estimators of all tasks share: options of the training, a model once it is trained, one file."""

import math
import os
from typing import Any, ClassVar, Self

from lstmkit.runtime import Model, load
from lstmkit.spec import LSTMKitError, ModelFileError, OptionError, is_main_process


class Estimator:
    """Base of the estimators; predicting needs no torch.

    A subclass names its task and its model, sets ``_model`` in ``fit``, and builds itself from a model in ``_restore``.

    Args:
        training: Options of :class:`lstmkit.training.TrainingConfig`.
    """

    task: ClassVar[str]
    model_type: ClassVar[type[Model]]

    def __init__(self, training: dict[str, Any]) -> None:
        self.training = training
        self._model: Any = None

    @property
    def model(self) -> Any:
        """The trained model, which runs without torch.

        Raises:
            LSTMKitError: nothing has been trained yet.
        """
        if self._model is None:
            raise LSTMKitError(f"this {type(self).__name__} has not been trained; call fit, or load a model")
        return self._model

    @property
    def scores(self) -> dict[str, Any]:
        """Scores on what was held back in training; empty if nothing was."""
        return self.model.scores

    @property
    def interrupted(self) -> bool:
        """Whether Ctrl-C ended the training early."""
        return self.model.document.get("training") == {"stopped": "interrupted"}

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model to one ``.safetensors`` file; the file that stood there is replaced whole or not at all.

        Of several processes that have trained it together, the main one writes.

        Raises:
            LSTMKitError: nothing is trained, the path cannot be written to, or the disk is full.
        """
        if is_main_process():
            self.model.save(path)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read a model file; predicting with it needs no torch.

        Raises:
            ModelFileError: the file is missing, damaged, of another kind or of a newer format.
        """
        model = load(path)
        if not isinstance(model, cls.model_type):
            raise ModelFileError(f"{path} holds a model of the task {model.document.get('task')!r}, not {cls.task!r}")
        estimator = cls._restore(model)
        estimator._model = model
        return estimator

    @classmethod
    def _restore(cls, model: Any) -> Self:
        """An estimator with the options that a model was trained with."""
        raise NotImplementedError


def check_weights(**weights: object) -> None:
    """Refuse what cannot say how much a part of the loss counts.

    Raises:
        OptionError: one is no number of at least 0.
    """
    for name, value in weights.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
            raise OptionError(f"{name} must be a number of at least 0, not {value!r}")
