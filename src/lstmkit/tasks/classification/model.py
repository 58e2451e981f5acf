"""The network of a classifier, as stages: one reader, of which a trained model has several.

Each token is a word and its letters, or each step of a series its values; an LSTM reads them in both directions, and
what it found most of, and on average, decides; of a series also what it knows at either end.
"""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from lstmkit.runtime import SeriesReader, Stage, TextReader
from lstmkit.spec import CellSpec

if TYPE_CHECKING:
    from lstmkit.nn.stages import StagedModel

# Spread of the first embeddings: that of torch's own is so large that rare words drown the frequent ones.
_FIRST_SPREAD = 0.15
SCORES = "scores"


@dataclass(frozen=True)
class Sizes:
    """Sizes of the network.

    Args:
        embedding_size: Features of a token.
        hidden_size: Units of the LSTM in each direction.
        num_layers: Layers of the LSTM.
        dropout: Part of the LSTM's findings that is dropped in training.
        input_dropout: Part of the token's features, or of the values, that is dropped in training.
        pool: ``"summary"`` (largest, mean, of series also last) or ``"attention"``: how the steps come together; None
            takes attention for texts, the summary for series.
    """

    embedding_size: int = 100
    hidden_size: int = 64
    num_layers: int = 1
    dropout: float = 0.5
    input_dropout: float = 0.5
    pool: str | None = None


def classifier_stages(reader: TextReader | SeriesReader, sizes: Sizes, labels: int) -> list[Stage]:
    """The stages of one reader; the last one scores each label."""
    stages = _text_steps(reader, sizes) if isinstance(reader, TextReader) else _series_steps(reader, sizes)
    cell = CellSpec(sizes.embedding_size, sizes.hidden_size, sizes.num_layers, bidirectional=True).to_dict()
    between = sizes.dropout if sizes.num_layers > 1 else 0.0
    stages.append(Stage("lstm", "recurrent", ("steps", "lengths"), {"cell": cell, "lengths": True, "dropout": between}))
    pools = _pools(sizes, series=isinstance(reader, SeriesReader))
    stages += pools
    for pool in pools:
        stages.append(Stage(f"kept_{pool.name}", "dropout", (pool.name,), {"rate": sizes.dropout}))
    found = {"features": len(pools) * 2 * sizes.hidden_size, "units": labels}
    return [*stages, Stage(SCORES, "linear", tuple(f"kept_{pool.name}" for pool in pools), found)]


def _text_steps(reader: TextReader, sizes: Sizes) -> list[Stage]:
    size, dropped = {"features": sizes.embedding_size}, {"rate": sizes.input_dropout, "same_steps": True}
    words = [Stage("words", "embedding", ("tokens",), {"tokens": len(reader.encoder), **size})]
    if reader.pieces:
        words.append(Stage("letters", "bag", ("pieces",), {"things": reader.pieces, "how": "mean", **size}))
        words.append(Stage("spelt", "gather", ("letters", "places"), {}))
        words.append(Stage("known", "add", ("words", "spelt"), {}))
    return [*words, Stage("steps", "dropout", (words[-1].name,), dropped)]


def _series_steps(reader: SeriesReader, sizes: Sizes) -> list[Stage]:
    return [
        Stage("kept_values", "dropout", ("values",), {"rate": sizes.input_dropout}),
        Stage("steps", "linear", ("kept_values",), {"features": reader.features, "units": sizes.embedding_size}),
    ]


def _pools(sizes: Sizes, *, series: bool) -> list[Stage]:
    reads = ("lstm", "lengths")
    if sizes.pool == "attention" or (sizes.pool is None and not series):
        return [Stage("attended", "attention_pool", reads, {"features": 2 * sizes.hidden_size, "units": 64})]
    pools = [Stage("most", "pool", reads, {"how": "max"}), Stage("average", "pool", reads, {"how": "mean"})]
    # In series it matters where something is; the last states know it. Those of several layers are not one a direction.
    ends = Stage("ends", "join_directions", ("lstm.h",), {})
    return [*pools, ends] if series and sizes.num_layers == 1 else pools


def start_weights(module: "StagedModel") -> None:
    """Small first embeddings."""
    from torch import nn

    for stage in module.stages:
        if stage.kind in ("embedding", "bag"):
            nn.init.normal_(module.parts[stage.name].weight, std=_FIRST_SPREAD)  # pyright: ignore[reportArgumentType]


def named(stages: list[Stage], suffix: str, inputs: set[str]) -> list[Stage]:
    """The same stages under other names, so that several readers stand in one model."""

    def rename(name: str) -> str:
        own, dot, result = name.partition(".")
        return name if name in inputs else f"{own}{suffix}{dot}{result}"

    return [
        replace(stage, name=rename(stage.name), inputs=tuple(rename(name) for name in stage.inputs)) for stage in stages
    ]
