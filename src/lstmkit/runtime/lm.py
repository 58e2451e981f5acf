"""Language modelling without torch: texts are scored, and written."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstmkit.features import Sampler
from lstmkit.runtime.lm_beam import search_beam
from lstmkit.runtime.lm_stream import LMStream
from lstmkit.runtime.lm_text import LanguageText
from lstmkit.runtime.model import Model, read_stages
from lstmkit.runtime.model_file import Document
from lstmkit.runtime.stage_shapes import BATCH, STEPS, Shape, cell_of
from lstmkit.runtime.stages import Stage
from lstmkit.spec import CellSpec, ModelFileError, OptionError, ShapeError

Array = NDArray[Any]

# Tokens whose scores are held at once.
_BLOCK = 256
_HEAD = ("dropout", "linear", "tied_linear", "adaptive_softmax")


class LMModel(Model):
    """A trained language model as a file holds it; NumPy and tokenizers only.

    Its stages are an embedding, recurrent layers, and layers up to the scores of the next token.

    Raises:
        ModelFileError: the document does not describe a language model.
        MissingExtraError: the package tokenizers is missing.
    """

    def __init__(self, document: Document, weights: Mapping[str, Array]) -> None:
        self.text = LanguageText.from_dict(document.get("lm"))
        before, self.recurrent, self.head = _parts(read_stages(document))
        self.cell = _cell(self.recurrent)
        super().__init__(document, weights)
        if self.shapes[self.answer] != (BATCH, STEPS, len(self.text.encoder)):
            raise ModelFileError("the model file is damaged: its last stage does not score every token")
        self.table_name = f"{before.name}.weight"
        self.table = self.weights[before.name]["weight"]
        if len(self.table) != len(self.text.encoder):
            raise ModelFileError("the model file is damaged: its embedding has another number of tokens")

    def input_shapes(self) -> dict[str, Shape]:
        """Tokens, and the states before the first."""
        rows = self.cell.state_rows
        states = {name: (rows, BATCH, *shape) for name, shape in self.cell.state_shapes().items()}
        return {"tokens": (BATCH, STEPS), **states}

    def stream(self, *, precision: str = "float32") -> LMStream:
        """A stream that has read nothing; arguments and errors as for :class:`LMStream`."""
        stream = LMStream(self, precision)
        stream.reset()
        return stream

    def surprise(self, tokens: Array) -> NDArray[np.float64]:
        """How unexpected each token of a text is, read from its start behind a line's end.

        Args:
            tokens: ``(N,)``.

        Returns:
            ``(N,)``, minus the logarithm of each token's probability.

        Units:
            nats.

        Raises:
            ShapeError: these are no numbers of tokens.
        """
        found = np.asarray(tokens)
        known = len(self.table)
        if found.ndim != 1 or found.dtype.kind not in "iu" or ((found < 0) | (found >= known)).any():
            raise ShapeError(f"expected a row of numbers of tokens from 0 to below {known}")
        stream, last = self.stream(), self.text.line_end
        nats = np.empty(len(found))
        for start in range(0, len(found), _BLOCK):
            block = np.asarray(found[start : start + _BLOCK], np.int64)
            scores = stream.feed(np.append(last, block[:-1]))
            nats[start : start + _BLOCK] = _surprise(scores, block)
            last = block[-1]
        return nats

    def write(
        self, prompt: str = "", length: int = 200, *, sampler: Sampler | None = None, precision: str = "float32"
    ) -> Iterator[str]:
        """Go on from a prompt, piece by piece as it comes.

        Args:
            prompt: What stands before; a line begins where it ends in one, or is empty.
            length: Tokens to write.
            sampler: How to choose; None draws with a temperature of 1.
            precision: Of the products; see :class:`LMStream`.

        Yields:
            Text, which together is the continuation without the prompt.

        Raises:
            OptionError: an option that cannot be.
        """
        check_length(length)
        stream, tokens = self.stream(precision=precision), self.prompt(prompt)
        draw = (sampler or Sampler()).draw
        speller, step, forbidden = self.text.speller(tokens[1:]), stream.step, self.text.forbidden
        scores = stream.feed(tokens)[-1]
        return _pieces(scores, length, draw, step, speller.push, forbidden)

    def search(self, prompt: str = "", length: int = 200, beam: int = 5) -> str:
        """The most probable continuation that a beam search finds; arguments as for :meth:`write`.

        Args:
            prompt: What stands before.
            length: Tokens to write.
            beam: Continuations that are kept at every step.
        """
        check_length(length)
        if type(beam) is not int or beam < 1:
            raise OptionError(f"beam must be a whole number of at least 1, not {beam!r}")
        tokens = self.prompt(prompt)
        found = search_beam(self.stream(), tokens, length, beam, self.text.forbidden)
        speller = self.text.speller(tokens[1:])
        return "".join(speller.push(number) for number in found)

    def prompt(self, prompt: str) -> Array:
        """The tokens of a prompt, with the end of a line before them."""
        return np.append(self.text.line_end, self.text.text(prompt))


def _pieces(scores: Array, length: int, draw: Any, step: Any, spell: Any, forbidden: int) -> Iterator[str]:
    for _ in range(length):
        scores[:forbidden] = -np.inf
        token = draw(scores)
        yield spell(token)
        scores = step(token)


def check_length(length: int) -> None:
    """Refuse what is no number of tokens.

    Raises:
        OptionError: it is not one.
    """
    if type(length) is not int or length < 0:
        raise OptionError(f"length must be a whole number from 0, not {length!r}")


def _surprise(scores: Array, tokens: Array) -> Array:
    scores = scores - scores.max(-1, keepdims=True)
    return np.log(np.exp(scores).sum(-1, dtype=np.float64)) - scores[np.arange(len(tokens)), tokens]


def _parts(stages: Sequence[Stage]) -> tuple[Stage, Stage, tuple[Stage, ...]]:
    """Embedding, recurrent stage, and all behind."""
    kinds = [stage.kind for stage in stages]
    place = kinds.index("recurrent") if "recurrent" in kinds else 0
    before, behind = [kind for kind in kinds[:place] if kind != "dropout"], kinds[place + 1 :]
    if before != ["embedding"] or kinds[0] != "embedding" or not behind or set(behind) - set(_HEAD):
        raise ModelFileError("the model file is damaged: its stages are not those of a language model")
    table = (f"{stages[0].name}.weight",)
    for stage, last in zip(stages[1:], stages, strict=False):
        others = stage.inputs[1:] if stage.kind != "recurrent" else ()
        if stage.inputs[0] != last.name or others not in ((), table):
            raise ModelFileError("the model file is damaged: its stages do not read each other in order")
    return stages[0], stages[place], tuple(stages[place + 1 :])


def _cell(stage: Stage) -> CellSpec:
    try:
        spec = cell_of(stage.options)
    except (ValueError, TypeError, KeyError, IndexError):
        raise ModelFileError("the model file is damaged: its recurrent stage makes no sense") from None
    if spec.bidirectional or spec.extra_size or spec.kernel_size or stage.inputs[1:] != tuple(spec.state_shapes()):
        raise ModelFileError("the model file is damaged: its recurrent stage cannot read text from left to right")
    return spec
