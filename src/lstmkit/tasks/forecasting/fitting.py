"""From series to a trained model: train, judge and calibrate on rows held back, then learn from all rows."""

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lstmkit.nn.stages import StagedModel
from lstmkit.runtime import ForecastConfig, ForecastModel, load
from lstmkit.runtime.model import flatten_weights
from lstmkit.spec import ModelFileError, is_main_process
from lstmkit.tasks.forecasting.evaluation import Windows, evaluate_windows
from lstmkit.tasks.forecasting.learning import conformal_offsets, crossed_coverage, quantile_loss
from lstmkit.tasks.forecasting.model import Sizes, forecast_stages, start_weights
from lstmkit.tasks.forecasting.windows import Batches, Split, window_batch
from lstmkit.training import TrainingConfig, TrainingResult, fit

# The last part of the steps takes in, at a lower rate, the rows that were held back.
_FINAL_PART, _FINAL_RATE = 0.2, 0.3
_VALIDATIONS = 10
_MOST_JUDGED, _JUDGED_TOGETHER = 2048, 512


@dataclass(frozen=True)
class Recipe:
    """What is to be trained, and how.

    Args:
        config: The windows.
        sizes: The network.
        training: The loop's options; ``max_steps`` is the whole budget.
        batch_size: Windows of a batch.
        returns: Whether the target is a price, modelled by its logarithm.
        learn_from_all: Whether the rows held back are learned from in the end.
        classical_windows: Held-out windows on which AutoETS is fitted for comparison.
        document: What the task adds to the model's document.
    """

    config: ForecastConfig
    sizes: Sizes
    training: TrainingConfig
    batch_size: int
    returns: bool
    learn_from_all: bool
    classical_windows: int
    document: dict[str, Any]


def fit_model(recipe: Recipe, split: Split) -> ForecastModel:
    """Train a forecaster.

    With rows held back: train without them and keep the weights that forecast them best; calibrate the
    intervals and take the scores on them; and, unless they are to stay unseen, spend the last fifth of
    the steps on all rows. A checkpoint brings a killed training back to where it was, in either part.
    After Ctrl-C the model is the best one so far.
    """
    interim = _interim_path(recipe.training)
    identity = "" if interim is None else _identity(recipe, split)
    module = _build(recipe)
    judged = _load_interim(interim, identity)
    if judged is None:
        judged, result = _train_and_judge(recipe, split, module, identity)
        if result.interrupted or not (len(split.judged) and recipe.learn_from_all):
            return judged
        _save_interim(judged, interim, identity)
    module.load_arrays(flatten_weights(judged.weights))
    result = _learn_from_all(recipe, split, module, identity)
    if result.interrupted:
        return _told(judged, result)
    if interim is not None and is_main_process():
        interim.unlink(missing_ok=True)
    return _told(_as_model(module, judged.document), result)


def _told(model: ForecastModel, result: TrainingResult) -> ForecastModel:
    """Note in the model's document how its training ended."""
    model.document["training"] = {"stopped": result.stopped}
    return model


def _train_and_judge(
    recipe: Recipe, split: Split, module: StagedModel, identity: str
) -> tuple[ForecastModel, TrainingResult]:
    """The first part: learn from the training rows; weights, intervals and scores by the rows held back."""
    judge = _Judge(recipe, split) if len(split.judged) else None
    steps = recipe.training.max_steps or 1
    part = 1 - _FINAL_PART if judge and recipe.learn_from_all else 1.0
    training = replace(
        recipe.training,
        max_steps=max(1, round(steps * part)),
        time_limit=recipe.training.time_limit and recipe.training.time_limit * part,
        validate_every=max(1, steps // _VALIDATIONS) if judge else None,
        patience=recipe.training.patience if judge else None,
    )
    result = _run(recipe, training, module, split.training, judge, identity)
    if judge is None:
        return _told(_as_model(module, recipe.document), result), result
    quantiles, answers = judge.scaled(module)
    with torch.no_grad():
        offsets = conformal_offsets(quantiles, answers, recipe.config.quantiles)
        module.get_buffer("parts.calibrated.offset").copy_(torch.from_numpy(offsets))
    model = _told(_as_model(module, recipe.document), result)
    sampled = len(split.judged) > _MOST_JUDGED
    windows = Windows(split.whole, *split.judged.sample(_MOST_JUDGED), sampled=sampled)
    # Whoever has pressed Ctrl-C does not wait for comparisons.
    evaluation = evaluate_windows(model, windows, classical=0 if result.interrupted else recipe.classical_windows)
    coverage = crossed_coverage(quantiles, answers, recipe.config.quantiles)
    evaluation = replace(evaluation, coverage={level: coverage[level] for level in evaluation.coverage})
    model.document["scores"] = evaluation.to_dict()
    return model, result


def _learn_from_all(recipe: Recipe, split: Split, module: StagedModel, identity: str) -> TrainingResult:
    """The second part: the same network goes on, at a lower rate, with the rows that were held back."""
    training = replace(
        recipe.training,
        max_steps=max(1, round((recipe.training.max_steps or 1) * _FINAL_PART)),
        time_limit=recipe.training.time_limit and recipe.training.time_limit * _FINAL_PART,
        learning_rate=recipe.training.learning_rate * _FINAL_RATE,
        patience=None,
        seed=recipe.training.seed + 1,
    )
    return _run(recipe, training, module, split.whole, None, f"{identity} all rows")


def _run(
    recipe: Recipe, training: TrainingConfig, module: StagedModel, series: Any, judge: "_Judge | None", identity: str
) -> TrainingResult:
    """One course of the training loop."""
    levels = torch.tensor(recipe.config.quantiles)
    batches = Batches(
        recipe.config,
        series,
        size=recipe.batch_size,
        steps=training.validate_every or min(training.max_steps or 1, 100),
        seed=training.seed,
        returns=recipe.returns,
    )
    return fit(
        module,
        batches,
        loss=lambda network, batch: quantile_loss(network, batch, levels),
        config=training,
        validate=judge,
        identity=identity,
        title="training" if judge else "learning from all rows",
    )


class _Judge:
    """The validation windows: scores a module, and measures how far its intervals must move."""

    def __init__(self, recipe: Recipe, split: Split) -> None:
        batches = Batches(recipe.config, split.whole, size=1, steps=1, seed=0, returns=recipe.returns)
        index, origins = split.judged.sample(_MOST_JUDGED)
        self._levels = torch.tensor(recipe.config.quantiles)
        self._batches = [
            {name: torch.from_numpy(array) for name, array in window_batch(batches, index[part], origins[part]).items()}
            for part in (slice(k, k + _JUDGED_TOGETHER) for k in range(0, len(origins), _JUDGED_TOGETHER))
        ]

    def __call__(self, module: nn.Module) -> float:
        sums = [quantile_loss(module, _beside(module, batch), self._levels) for batch in self._batches]
        losses = [float(total / count.clamp(min=1)) for total, count in sums]
        return float(np.average(losses, weights=[len(batch["answer"]) for batch in self._batches]))

    def scaled(self, module: StagedModel) -> tuple[NDArray[Any], NDArray[Any]]:
        """Quantiles ``(B, H, Q)`` and answers ``(B, H)`` of all windows, in units of each window's scale."""
        module.eval()
        with torch.no_grad():
            parts = [_scaled(module, _beside(module, batch)) for batch in self._batches]
        quantiles, answers = (np.concatenate(part) for part in zip(*parts, strict=True))
        return quantiles, answers


def _scaled(module: StagedModel, batch: Mapping[str, Tensor]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Quantiles and answers in units of each window's scale, as NumPy arrays."""
    values = module({name: tensor for name, tensor in batch.items() if name != "answer"})
    answer = (batch["answer"] - values["scaled.location"]) / values["scaled.scale"]
    return values["quantiles"].sort(-1)[0].cpu().numpy(), answer.cpu().numpy()


def _beside(module: nn.Module, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The batch on the device of the module."""
    device = next(module.parameters()).device
    return {name: tensor.to(device) for name, tensor in batch.items()}


def _build(recipe: Recipe) -> StagedModel:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.training.seed)
        module = StagedModel(forecast_stages(recipe.config, recipe.sizes, returns=recipe.returns))
        start_weights(module, recipe.config)
    return module


def _as_model(module: StagedModel, document: Mapping[str, Any]) -> ForecastModel:
    stages = [stage.to_dict() for stage in module.stages]
    return ForecastModel({**document, "task": "forecast", "stages": stages}, module.arrays())


def _identity(recipe: Recipe, split: Split) -> str:
    """Names data, windows, network and training, so that a checkpoint is never continued on others."""
    options = [
        recipe.config.to_dict(),
        vars(recipe.sizes),
        recipe.training.fingerprint(),
        recipe.batch_size,
        recipe.returns,
        recipe.learn_from_all,
    ]
    name = hashlib.sha256(json.dumps(options).encode())
    whole = split.whole
    for rows in (whole.values, whole.timestamps, whole.known, whole.observed, whole.static, whole.starts, whole.stops):
        name.update(np.ascontiguousarray(rows).data)
    name.update(np.ascontiguousarray(split.training.stops).data)
    return name.hexdigest()


def _interim_path(training: TrainingConfig) -> Path | None:
    return None if training.checkpoint is None else Path(f"{training.checkpoint}.judged")


def _save_interim(judged: ForecastModel, path: Path | None, identity: str) -> None:
    if path is not None and is_main_process():
        ForecastModel({**judged.document, "interim": identity}, flatten_weights(judged.weights)).save(path)


def _load_interim(path: Path | None, identity: str) -> ForecastModel | None:
    """The judged model of a training that was killed while it learned from all rows."""
    if path is None or not path.exists():
        return None
    with suppress(ModelFileError):
        model = load(path)
        if isinstance(model, ForecastModel) and model.document.pop("interim", None) == identity:
            return model
    return None
