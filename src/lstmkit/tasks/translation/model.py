"""The translator's network, as stages: a bidirectional encoder, attention, and a decoder in two parts.

The first part of the decoder asks, the attention answers, and the second part reads question and answer. So what was
read before is known when the next token is chosen, as with input feeding, and still each LSTM runs over all steps of
the target in one call. Source: Wu et al. (2016), section 3, for attention behind the first layer; Bahdanau et al.
(2015) and Luong et al. (2015) for the scores.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lstmkit.runtime import Stage, StagePlan
from lstmkit.runtime.translate_stages import ADDITIVE, MULTIPLICATIVE
from lstmkit.spec import CellSpec, OptionError

if TYPE_CHECKING:
    from lstmkit.nn.stages import StagedModel

ATTENTION = (MULTIPLICATIVE, ADDITIVE)


@dataclass(frozen=True)
class Sizes:
    """Sizes of the network.

    Args:
        embedding_size: Features of a token.
        hidden_size: Units of each LSTM layer and direction.
        num_layers: Layers of the encoder.
        attention: ``"multiplicative"`` or ``"additive"``.
        dropout: Part of the values between layers that is dropped in training.

    Raises:
        OptionError: there is no such attention.
    """

    embedding_size: int
    hidden_size: int
    num_layers: int
    attention: str
    dropout: float

    def __post_init__(self) -> None:
        if self.attention not in ATTENTION:
            raise OptionError(f"attention must be one of {', '.join(map(repr, ATTENTION))}, not {self.attention!r}")


def translation_stages(sizes: Sizes, source_tokens: int, target_tokens: int) -> list[Stage]:
    """The network for vocabularies of these sizes; its last stage scores each token of the target's."""
    plan, units, rate = StagePlan(), sizes.hidden_size, sizes.dropout
    _encode(plan, sizes, source_tokens)
    plan.add(
        "target_embedding", "embedding", "target", tokens=target_tokens, features=sizes.embedding_size, shared=True
    )
    plan.add("written", "add", "target_embedding", "gist")
    plan.add("written_thinned", "dropout", "written", rate=rate)
    _lstm(plan, "asking", "written_thinned", sizes.embedding_size, units)
    plan.add("question", "dropout", "asking", rate=rate)
    query = "question"
    if sizes.attention == ADDITIVE:
        query = plan.add("query", "linear", "question", features=units, units=units)
    options = {"units": units} if sizes.attention == ADDITIVE else {}
    plan.add("answer", "attend", query, "offers", "encoded", "source_lengths", how=sizes.attention, **options)
    plan.add("answer_thinned", "dropout", "answer", rate=rate)
    plan.add("both", "join_features", "question", "answer_thinned")
    _lstm(plan, "choosing", "both", 3 * units, units)
    plan.add("chosen", "dropout", "choosing", rate=rate)
    plan.add("choice", "linear", "chosen", "answer_thinned", features=3 * units, units=sizes.embedding_size)
    plan.add("choice_bent", "tanh", "choice")
    plan.add("choice_thinned", "dropout", "choice_bent", rate=rate)
    plan.add("scores", "tied_linear", "choice_thinned", "target_embedding.weight", tokens=target_tokens)
    return plan.stages


def _encode(plan: StagePlan, sizes: Sizes, tokens: int) -> None:
    """The source as keys, values and a gist of the whole."""
    features, units = sizes.embedding_size, sizes.hidden_size
    plan.add("source_embedding", "embedding", "source", tokens=tokens, features=features)
    plan.add("read", "dropout", "source_embedding", rate=sizes.dropout)
    cell = CellSpec(features, units, sizes.num_layers, bidirectional=True).to_dict()
    between = sizes.dropout if sizes.num_layers > 1 else 0.0
    plan.add("encoded", "recurrent", "read", "source_lengths", cell=cell, lengths=True, dropout=between)
    plan.add("offers", "linear", "encoded", features=2 * units, units=units, bias=False)
    plan.add("mean", "pool", "encoded", "source_lengths", how="mean")
    plan.add("mean_step", "every_step", "mean")
    plan.add("gist", "linear", "mean_step", features=2 * units, units=features)


def _lstm(plan: StagePlan, name: str, value: str, features: int, units: int) -> str:
    return plan.add(name, "recurrent", value, cell=CellSpec(features, units).to_dict())


def start_weights(module: "StagedModel") -> None:
    """Embeddings begin small: the first scores are near those of no knowledge, and a rare token is no outlier.

    A row as long as torch's would drown what the few words with a rare letter can teach it.
    """
    from torch import nn, no_grad

    weights = module.stage_weights()
    with no_grad():
        for side in ("source_embedding", "target_embedding"):
            table = weights[side]["weight"]
            nn.init.normal_(table, std=table.shape[1] ** -0.5)
        if "score" in weights.get("answer", {}):
            nn.init.uniform_(weights["answer"]["score"], -0.1, 0.1)
