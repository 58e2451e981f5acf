"""The language model as stages, and its training by truncated backpropagation."""

from math import isqrt
from typing import Any

import torch
from torch import Tensor, nn

from lstmkit.nn import StagedModel, linear_cross_entropy
from lstmkit.runtime import Stage
from lstmkit.spec import CellSpec
from lstmkit.tasks.language_modelling.recipes import Recipe

# Groups of rare tokens get so much narrower one after the other.
_SHRINK = 4
# Embeddings begin between minus this and this.
_NARROW = 0.1


def language_stages(recipe: Recipe, tokens: int, cutoffs: list[int] | None) -> list[Stage]:
    """Embedding, LSTM and the scores of the next token.

    Args:
        recipe: Sizes and rates.
        tokens: Size of the vocabulary.
        cutoffs: Where groups of an adaptive softmax end, the last one excepted; None is a full softmax.
    """
    tied = recipe.tied and cutoffs is None
    embedding, hidden, rate = recipe.embedding_size, recipe.hidden_size, recipe.dropout
    table = {"tokens": tokens, "features": embedding, "shared": tied, "dropout": recipe.token_dropout}
    cell = CellSpec(embedding, hidden, recipe.num_layers)
    lstm = {
        "cell": cell.to_dict(),
        "dropout": rate if recipe.num_layers > 1 else 0.0,
        "input_dropout": recipe.input_dropout,
        "weight_dropout": recipe.weight_dropout,
    }
    stages = [
        Stage("embedded", "embedding", ("tokens",), table),
        Stage("features", "dropout", ("embedded",), {"rate": rate}),
        Stage("lstm", "recurrent", ("features", "h", "c"), lstm),
    ]
    last = "lstm"
    if tied and hidden != embedding:
        stages.append(Stage("narrow", "linear", (last,), {"features": hidden, "units": embedding}))
        last = "narrow"
    stages.append(Stage("said", "dropout", (last,), {"rate": rate}))
    if recipe.input_dropout:
        stages.append(Stage("held", "dropout", ("said",), {"rate": recipe.input_dropout, "same_steps": True}))
    return [*stages, _head(stages[-1].name, tied, hidden, tokens, cutoffs)]


def _head(last: str, tied: bool, hidden: int, tokens: int, cutoffs: list[int] | None) -> Stage:
    if tied:
        return Stage("scores", "tied_linear", (last, "embedded.weight"), {"tokens": tokens})
    if cutoffs is None:
        return Stage("scores", "linear", (last,), {"features": hidden, "units": tokens})
    options = {"features": hidden, "cutoffs": [*cutoffs, tokens], "shrink": min(_SHRINK, isqrt(hidden))}
    return Stage("scores", "adaptive_softmax", (last,), options)


class LanguageNetwork(nn.Module):
    """Stages that carry their state from one stretch of text to the next.

    The states are buffers, so that a training that goes on from a checkpoint knows what it had read.

    Args:
        stages: As :func:`language_stages` gives them.
        streams: Texts that are read side by side.
    """

    h: Tensor
    c: Tensor
    row_states = ("h", "c")

    def __init__(self, stages: list[Stage], streams: int) -> None:
        super().__init__()
        self.model = StagedModel(stages)
        lstm: Any = self.model.parts["lstm"]
        spec: CellSpec = lstm.spec
        for name, (size,) in spec.state_shapes().items():
            self.register_buffer(name, torch.zeros(spec.state_rows, streams, size))

    def forward(self, batch: dict[str, Any]) -> Tensor:
        """The mean loss of one stretch of every stream, in nats per token.

        Args:
            batch: ``tokens (B, T + 1)`` of the ``streams (B,)``, and whether it is the ``first`` stretch, before which
                nothing was read.
        """
        states, streams = (self.h, self.c), batch["streams"]
        before = tuple(state[:, streams].zero_() if batch["first"] else state[:, streams] for state in states)
        loss, after = self.loss(batch["tokens"], before)
        for state, new in zip(states, after, strict=True):
            state.zero_()
            state[:, streams] = new.to(state.dtype)
        return loss

    def loss(self, tokens: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Mean loss of ``tokens (B, T + 1)`` behind a state, and the state after, cut off from the graph."""
        inputs = {"tokens": tokens[:, :-1], "h": state[0], "c": state[1]}
        head = self.model.stages[-1]
        # The loss does the work of the last stage.
        values = self.model(inputs, {head.name: lambda *read: read})
        loss = self._head_loss(head, values, tokens[:, 1:].flatten())
        return loss, (values["lstm.h"].detach(), values["lstm.c"].detach())

    def _head_loss(self, head: Stage, values: dict[str, Tensor], targets: Tensor) -> Tensor:
        x, part = values[head.inputs[0]].flatten(0, 1), self.model.parts[head.name]
        if head.kind == "adaptive_softmax":
            return part(x, targets).loss
        own: dict[str, Tensor] = dict(part.named_parameters())
        weight = values[head.inputs[1]] if head.kind == "tied_linear" else own["weight"]
        return linear_cross_entropy(x, weight, own["bias"], targets)

    def start(self, spread: float | None) -> None:
        """Draw the weights: all between minus ``spread`` and it, or as torch does with a narrow embedding."""
        if spread is not None:
            for weight in self.model.parameters():
                nn.init.uniform_(weight, -spread, spread)
            return
        nn.init.uniform_(self.model.parts["embedded"].get_parameter("weight"), -_NARROW, _NARROW)
        for name, weight in self.model.parts["scores"].named_parameters():
            if name == "bias":
                nn.init.zeros_(weight)
