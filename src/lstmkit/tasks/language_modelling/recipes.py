"""What belongs together: the sizes of a network, what it forgets on purpose, and how it is trained."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from lstmkit.spec import OptionError


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A network and its training.

    Args:
        embedding_size: Features of a token.
        hidden_size: Units of a layer.
        num_layers: Layers.
        tied: Whether the same rows read tokens and foretell them.
        dropout: Part of the features of tokens, of outputs and between layers that is dropped, anew at every step.
        input_dropout: Part of the features of each layer's input that is dropped for a whole stretch of text.
        weight_dropout: Part of the recurrent weights that is dropped.
        token_dropout: Part of the tokens whose embedding is dropped.
        start: Weights are drawn between minus this and this; None leaves them as torch draws them.
        streams: Stretches of text that are read side by side.
        steps: Tokens after which the gradient is cut off.
        epochs: Passes over the text.
        least_steps: Steps of training that a short text gets, by more passes.
        training: Other options of :class:`lstmkit.training.TrainingConfig`.
    """

    embedding_size: int
    hidden_size: int
    num_layers: int = 2
    tied: bool = True
    dropout: float = 0.0
    input_dropout: float = 0.0
    weight_dropout: float = 0.0
    token_dropout: float = 0.0
    start: float | None = None
    streams: int
    steps: int
    epochs: int
    least_steps: int = 0
    training: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def __post_init__(self) -> None:
        for name in ("embedding_size", "hidden_size", "num_layers", "streams", "steps", "epochs"):
            value = getattr(self, name)
            if type(value) is not int or value < 1:
                raise OptionError(f"{name} must be a whole number of at least 1, not {value!r}")
        for name in ("dropout", "input_dropout", "weight_dropout", "token_dropout"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1:
                raise OptionError(f"{name} must be a number from 0 to below 1, not {value!r}")

    def changed(self, **changes: Any) -> "Recipe":
        """The recipe with what is not None taken over."""
        return replace(self, **{name: value for name, value in changes.items() if value is not None})


_ADAM = {"schedule": "cosine", "gradient_clip": 0.5, "weight_decay": 0.01}

RECIPES: dict[str, Recipe] = {
    # Zaremba, Sutskever & Vinyals (2014), Recurrent Neural Network Regularization: the small network. Their loss is the
    # sum of 20 steps, ours the mean, so their rate of 1 is 20 here, and their clip at 5 is 5 / 20.
    "small": Recipe(
        embedding_size=200,
        hidden_size=200,
        tied=False,
        start=0.1,
        streams=20,
        steps=20,
        epochs=13,
        training={
            "optimizer": "sgd",
            "learning_rate": 20.0,
            "schedule": "halving",
            "hold_epochs": 4,
            "warmup_fraction": 0.0,
            "gradient_clip": 0.25,
        },
    ),
    "word": Recipe(
        embedding_size=400,
        hidden_size=650,
        dropout=0.4,
        input_dropout=0.1,
        weight_dropout=0.2,
        token_dropout=0.05,
        streams=32,
        steps=35,
        epochs=30,
        least_steps=600,
        training={**_ADAM, "learning_rate": 3e-3},
    ),
    # Merity, Keskar & Socher (2017), Regularizing and Optimizing LSTM Language Models; with a narrow layer before
    # the softmax where they have a narrow last LSTM.
    "awd": Recipe(
        embedding_size=400,
        hidden_size=1150,
        num_layers=3,
        dropout=0.0,
        input_dropout=0.3,
        weight_dropout=0.5,
        token_dropout=0.1,
        streams=40,
        steps=70,
        epochs=500,
        training={
            "optimizer": "sgd",
            "learning_rate": 30.0,
            "schedule": "constant",
            "warmup_fraction": 0.0,
            "gradient_clip": 0.25,
            "averaging": "triggered",
            "weight_decay": 1.2e-6,
        },
    ),
    "character": Recipe(
        embedding_size=64,
        hidden_size=384,
        tied=False,
        dropout=0.2,
        streams=32,
        steps=64,
        epochs=20,
        least_steps=600,
        training={**_ADAM, "learning_rate": 5e-3},
    ),
}
RECIPES["bpe"] = RECIPES["word"]


def choose_recipe(name: str, level: str) -> Recipe:
    """A recipe by its name; ``"default"`` is the one of the level.

    Raises:
        OptionError: there is none of that name.
    """
    names = ("default", "small", "awd", *(name for name in RECIPES if name not in ("small", "awd")))
    if name not in names:
        raise OptionError(f"recipe must be one of {', '.join(map(repr, names))}, not {name!r}")
    return RECIPES[level if name == "default" else name]
