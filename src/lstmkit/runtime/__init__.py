"""Floor 2: torch-free inference from one file. NumPy in, NumPy out."""

import os

from lstmkit.runtime.classify import ClassifyModel
from lstmkit.runtime.classify_series import SeriesReader
from lstmkit.runtime.classify_text import TextReader
from lstmkit.runtime.forecast import ForecastModel
from lstmkit.runtime.forecast_config import ForecastConfig
from lstmkit.runtime.forecast_stream import ForecastStream
from lstmkit.runtime.lm import LMModel
from lstmkit.runtime.lm_stream import LMStream
from lstmkit.runtime.model import Model
from lstmkit.runtime.model_file import FORMAT_VERSION, read_model, write_model
from lstmkit.runtime.pool import StreamPool
from lstmkit.runtime.sequence import SequenceModel
from lstmkit.runtime.stage_plan import StagePlan
from lstmkit.runtime.stages import STAGE_KINDS, Stage, run_stages
from lstmkit.runtime.stream import Stream
from lstmkit.runtime.tag import Entity, Tagged, TagModel
from lstmkit.runtime.tag_config import TagConfig
from lstmkit.runtime.translate import TranslateModel, Translation
from lstmkit.runtime.translate_beam import Search
from lstmkit.spec import ModelFileError

_TASKS: dict[str, type[Model]] = {
    "classify": ClassifyModel,
    "forecast": ForecastModel,
    "lm": LMModel,
    "sequence": SequenceModel,
    "tag": TagModel,
    "translate": TranslateModel,
}


def load(path: str | os.PathLike[str]) -> Model:
    """Load a model file for prediction and streaming, without torch.

    Args:
        path: A ``.safetensors`` file that lstmkit saved.

    Raises:
        ModelFileError: the file is missing, damaged, of another kind, or of a newer format.
    """
    document, weights = read_model(path)
    task = document.get("task")
    if not isinstance(task, str) or task not in _TASKS:
        named = str(task)[:40]
        raise ModelFileError(
            f"this lstmkit cannot run models of the task {named!r}; run: pip install --upgrade lstmkit"
        )
    return _TASKS[task](document, weights)


__all__ = [
    "FORMAT_VERSION",
    "STAGE_KINDS",
    "ClassifyModel",
    "Entity",
    "ForecastConfig",
    "ForecastModel",
    "ForecastStream",
    "LMModel",
    "LMStream",
    "Model",
    "Search",
    "SequenceModel",
    "SeriesReader",
    "Stage",
    "StagePlan",
    "Stream",
    "StreamPool",
    "TagConfig",
    "TagModel",
    "Tagged",
    "TextReader",
    "TranslateModel",
    "Translation",
    "load",
    "read_model",
    "run_stages",
    "write_model",
]
