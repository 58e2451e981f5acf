"""The decoder half of a translator, one step for all beams of a batch. The stages are those that were trained.

In training a decoder runs over the steps of the target. In a search the beams lie where the steps were, and the
recurrent stages alone know that each has a state of its own.

Legend: ``B`` sentences, ``K`` beams, ``L`` layers, ``H`` units, ``S`` steps of the source, ``V`` tokens.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstmkit.features import START, UNKNOWN
from lstmkit.reference import run_sequence
from lstmkit.runtime.model import Model
from lstmkit.runtime.stage_shapes import cell_of
from lstmkit.runtime.stages import Stage, run_stages
from lstmkit.spec import ModelFileError

Array = NDArray[Any]

# What answers for each step by itself, so that beams can stand in place of steps.
_STEPPED = {
    "add",
    "attend",
    "dropout",
    "embedding",
    "join_features",
    "linear",
    "recurrent",
    "relu",
    "tanh",
    "tied_linear",
}


def split_stages(stages: Sequence[Stage], target: str) -> tuple[list[Stage], list[Stage]]:
    """The stages that read the source alone, and those that wait for the target.

    Raises:
        ModelFileError: one of the latter cannot be stepped.
    """
    waiting, encoder, decoder = {target}, list[Stage](), list[Stage]()
    for stage in stages:
        if waiting.isdisjoint(stage.inputs):
            encoder.append(stage)
            continue
        decoder.append(stage)
        waiting |= set(stage.results)
        if stage.kind not in _STEPPED or (stage.kind == "recurrent" and not _keeps_its_state(stage)):
            raise ModelFileError(
                f"the model file is damaged: its decoder cannot be stepped through the stage {stage.name!r}"
            )
    return encoder, decoder


def _keeps_its_state(stage: Stage) -> bool:
    """Whether a recurrent stage goes forward from a state of its own."""
    return len(stage.inputs) == 1 and not cell_of(stage.options).bidirectional


class BeamDecoder:
    """A decoder before its first step.

    Args:
        model: Whose stages these are.
        stages: Those that wait for the target.
        memory: What the encoder gave, by name.
        beams: How many a sentence has.
    """

    def __init__(self, model: Model, stages: Sequence[Stage], memory: Mapping[str, Array], beams: int) -> None:
        self.model, self.stages, self.memory = model, stages, dict(memory)
        sentences = len(next(iter(memory.values())))
        (self.attention,) = [f"{stage.name}.weights" for stage in stages if stage.kind == "attend"]
        first = model.first_states()
        self.states = {
            stage.name: [_spread(state, sentences, beams) for state in first[stage.name]]
            for stage in stages
            if stage.kind == "recurrent"
        }

    def step(self, tokens: Array) -> tuple[Array, Array]:
        """Log-probabilities ``(B, K, V)`` and attention ``(B, K, S)`` behind the tokens ``(B, K)``."""
        overrides = {name: partial(self._recur, name) for name in self.states}
        inputs = {**self.memory, "target": tokens}
        values = run_stages(np, self.stages, self.model.weights, inputs, overrides)
        log_probs = log_softmax(values[self.model.answer])
        log_probs[:, :, [UNKNOWN, START]] = -np.inf
        return log_probs, values[self.attention]

    def keep(self, rows: Array, beams: Array) -> None:
        """Go on with these sentences, each with the histories of its beams."""
        self.memory = {name: value[rows] for name, value in self.memory.items()}
        for name, states in self.states.items():
            self.states[name] = [state[:, rows[:, None], beams] for state in states]

    def _recur(self, name: str, x: Array) -> tuple[Array, ...]:
        """One step of every beam ``(B, K, I)``."""
        sentences, beams, features = x.shape
        states = tuple(state.reshape(len(state), sentences * beams, -1) for state in self.states[name])
        inputs = x.reshape(1, sentences * beams, features)
        result = run_sequence(np, self.model.cells[name], self.model.weights[name], inputs, states)
        self.states[name] = [state.reshape(len(state), sentences, beams, -1) for state in result.state]
        return result.output.reshape(sentences, beams, -1), *result.state


def log_softmax(scores: Array) -> Array:
    """Logarithms of probabilities along the last axis."""
    shifted = scores - scores.max(-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))


def _spread(state: Array, sentences: int, beams: int) -> Array:
    """(L, 1, H) -> (L, B, K, H)."""
    return np.broadcast_to(state[:, :, None], (len(state), sentences, beams, state.shape[-1])).copy()
