"""Stacks that Hypothesis draws: any cell, any sizes, any options, in any combination that is allowed."""

from dataclasses import fields
from typing import Any

from hypothesis import strategies as st

from lstmkit.spec import CATALOG, LAYER_NORMS, CellSpec, Variant

SIGMOIDS = ["sigmoid", "hard_sigmoid", ("hard_sigmoid", 0.2, 0.5), "softsign"]
TANHS = ["tanh", ("tanh", 2.0, 0.5), "relu", "softsign", "identity", ("elu", 0.5), "gelu"]
BOUNDS = st.sampled_from([None, 0.4, 1.5])
RATES = st.sampled_from([0.0, 0.3])

# An option, what it may be. Peepholes are drawn among the gates that are there.
CHOICES: dict[str, st.SearchStrategy[Any]] = {
    "output_gate": st.sampled_from(["free", "one"]),
    "gate_activation": st.sampled_from(SIGMOIDS),
    "candidate_activation": st.sampled_from(TANHS),
    "cell_activation": st.sampled_from(TANHS),
    "full_gate_recurrence": st.booleans(),
    "layer_norm": st.sampled_from([None, *LAYER_NORMS]),
    "gate_clip": BOUNDS,
    "cell_clip": BOUNDS,
    "zoneout_h": RATES,
    "zoneout_c": RATES,
}
PAIRS = [("free", "free"), ("free", "one"), ("one", "free"), ("one", "one"), ("free", "coupled"), ("coupled", "free")]


def _curves(candidate: Any, cell: Any, gate: Any = "sigmoid") -> dict[str, Any]:
    return {"gate_activation": gate, "candidate_activation": candidate, "cell_activation": cell}


# Every option alone: each must have a test to itself before they meet.
ALONE: dict[str, dict[str, Any]] = {
    "no-forget-gate": {"forget_gate": "one"},
    "no-input-gate": {"input_gate": "one"},
    "no-output-gate": {"output_gate": "one"},
    "f-coupled": {"forget_gate": "coupled"},
    "i-coupled": {"input_gate": "coupled"},
    "peepholes": {"peepholes": "ifo"},
    "peephole-f": {"peepholes": "f"},
    "gate-recurrence": {"full_gate_recurrence": True},
    "gate-clip": {"gate_clip": 0.6},
    "cell-clip": {"cell_clip": 0.4},
    "proj-bias": {"proj_size": 2, "proj_bias": True},
    "proj-clip": {"proj_size": 2, "proj_clip": 0.2},
    "zoneout-h": {"zoneout_h": 0.3},
    "zoneout-c": {"zoneout_c": 0.2},
    "hard-sigmoid": {"gate_activation": "hard_sigmoid"},
    "hard-sigmoid-of-onnx": {"gate_activation": ("hard_sigmoid", 0.2, 0.5)},
    "linear-input": {"candidate_activation": "identity"},
    "linear-output": {"cell_activation": "identity"},
    "relu-softsign": {"candidate_activation": "relu", "cell_activation": "softsign"},
    "sigmoid-candidate": {"candidate_activation": "sigmoid"},
    "scaled-tanh": {"candidate_activation": ("tanh", 2.0, 0.5), "cell_activation": ("tanh", 1.0, 0.5)},
    "affine-elu-leaky-relu": _curves(("elu", 0.5), ("leaky_relu", 0.2), ("affine", 0.1, 0.5)),
    "exponential-hard-tanh": _curves("exponential", "hard_tanh"),
    "silu-gelu": _curves("silu", "gelu"),
    "mish-softplus": _curves("mish", "softplus"),
    "thresholded-relu-relu6": _curves(("thresholded_relu", 0.3), "relu6"),
    "hard-silu-log-sigmoid": _curves("hard_silu", "log_sigmoid"),
    "soft-shrink-hard-shrink": _curves("soft_shrink", "hard_shrink"),
    "sparse-plus-tanh-shrink": _curves("sparse_plus", "tanh_shrink"),
    "squareplus-selu": _curves("squareplus", "selu"),
    **{f"norm-{name}": {"layer_norm": name} for name in LAYER_NORMS},
    "layer-sizes": {"num_layers": 3, "hidden_size": 2, "layer_sizes": (4, 3, 2)},
    "residual": {"num_layers": 3, "skip": "residual"},
    "highway": {"num_layers": 2, "skip": "highway"},
}


def make_spec(**options: Any) -> CellSpec:
    """A stack of three features; options of the variant and of the stack side by side."""
    names = {field.name for field in fields(Variant)}
    variant = Variant(**{name: value for name, value in options.items() if name in names})
    stack = {name: value for name, value in options.items() if name not in names}
    return CellSpec(**({"input_size": 3, "hidden_size": 4, "variant": variant} | stack))


ALONE_SPECS = {name: make_spec(**options) for name, options in ALONE.items()}


# The same of the other cells, and what a cell cannot do without; sizes are divisible by two.
OPTIONS: dict[str, dict[str, dict[str, Any]]] = {
    "rnn": {
        "relu": {"nonlinearity": "relu"},
        "scaled-tanh": {"nonlinearity": ("tanh", 2.0, 0.5)},
        "elu": {"nonlinearity": ("elu", 0.5)},
        # At 0.6 a sum lies so near the bound that in bfloat16 chance decides whether its gradient passes.
        "clip": {"variant": Variant(gate_clip=0.7)},
    },
    "gru": {
        "reset-before": {"reset_after": False},
        "activations": {"variant": Variant(gate_activation="hard_sigmoid", candidate_activation="softsign")},
        "gelu": {"variant": Variant(candidate_activation="gelu")},
        "clip": {"variant": Variant(gate_clip=0.6)},
    },
    "slstm": {"heads": {"num_heads": 2}},
    "mlstm": {"heads": {"num_heads": 2}},
    "janet": {"beta": {"beta": 0.25}},
    "mogrifier": {"rank": {"rounds": 4, "rank": 2}, "one": {"rounds": 1}},
    "on_lstm": {"chunks": {"chunk_size": 2}},
    "phased": {"leak": {"leak": 0.1}},
    "entity_aware": {"static": {"static_size": 4}},
    "conv_lstm": {
        "valid": {"padding": "valid"},
        "activations": {
            "variant": Variant(
                gate_activation="hard_sigmoid", candidate_activation="softsign", cell_activation="identity"
            )
        },
        "clip": {"variant": Variant(gate_clip=0.6)},
    },
}
NEEDED: dict[str, dict[str, Any]] = {"conv_lstm": {"kernel_size": (3, 2)}}


@st.composite
def variants(draw: st.DrawFn, *, projection: bool = False) -> Variant:
    """Any options of an LSTM that go together."""
    names = draw(st.sets(st.sampled_from(sorted(CHOICES)), max_size=6))
    options = {name: draw(CHOICES[name]) for name in sorted(names)}
    options["input_gate"], options["forget_gate"] = draw(st.sampled_from(PAIRS))
    free = Variant(**(options | {"full_gate_recurrence": False})).free_gates
    options["peepholes"] = "".join(draw(st.permutations(free))[: draw(st.integers(0, len(free)))])
    options["full_gate_recurrence"] = options.get("full_gate_recurrence", False) and bool(free)
    if projection:
        options |= {"proj_bias": draw(st.booleans()), "proj_clip": draw(BOUNDS)}
    return Variant(**options)


@st.composite
def specs(draw: st.DrawFn, *, bidirectional: bool | None = None, plain: bool = False) -> CellSpec:
    """Any stack of LSTMs; ``plain`` ones have torch's options alone."""
    hidden, layers = draw(st.integers(1, 5)), draw(st.integers(1, 3))
    sizes = () if plain else tuple(draw(st.sampled_from([hidden, hidden + 1])) for _ in range(layers - 1))
    projection = draw(st.integers(0, hidden - 1))
    sizes = (*sizes, hidden) if sizes and draw(st.booleans()) else ()
    may_skip = not plain and layers > 1 and (len(set(sizes)) < 2 or projection)
    return CellSpec(
        input_size=draw(st.integers(1, 4)),
        hidden_size=hidden,
        num_layers=layers,
        bias=draw(st.booleans()),
        bidirectional=draw(st.booleans()) if bidirectional is None else bidirectional,
        proj_size=projection,
        layer_sizes=sizes,
        skip=draw(st.sampled_from(["none", "residual", "highway"])) if may_skip else "none",
        variant=Variant() if plain else draw(variants(projection=projection > 0)),
    )


# What the options of the other cells may be; heads and chunks are drawn among the divisors of a size.
OWN: dict[str, st.SearchStrategy[Any]] = {
    "nonlinearity": st.sampled_from(TANHS),
    "reset_after": st.booleans(),
    "beta": st.sampled_from([-1.0, 0.0, 0.25, 2.0]),
    "rounds": st.integers(1, 6),
    "rank": st.integers(0, 3),
    "leak": st.sampled_from([0.001, 0.1, 0.5]),
    "static_size": st.integers(1, 4),
}


@st.composite
def relatives(draw: st.DrawFn, *, bidirectional: bool | None = None) -> CellSpec:
    """Any stack of another cell over vectors."""
    cells = [cell for cell, entry in CATALOG.items() if entry.driver in ("steps", "chunks") and cell != "lstm"]
    cell, hidden = draw(st.sampled_from(cells)), draw(st.integers(1, 6))
    divisors = st.sampled_from([n for n in range(1, hidden + 1) if hidden % n == 0])
    own = OWN | {"num_heads": divisors, "chunk_size": divisors}
    options = CATALOG[cell].options
    variant = {name: draw(CHOICES[name]) for name in options if name in CHOICES}
    return CellSpec(
        input_size=draw(st.integers(1, 4)),
        hidden_size=hidden,
        num_layers=draw(st.integers(1, 2)),
        bias=draw(st.booleans()),
        bidirectional=draw(st.booleans()) if bidirectional is None else bidirectional,
        cell=cell,
        variant=Variant(**variant),
        **{name: draw(own[name]) for name in options if name in own},
    )


def family(*, bidirectional: bool | None = None) -> st.SearchStrategy[CellSpec]:
    """Any stack of any cell over vectors."""
    return st.one_of(specs(bidirectional=bidirectional), relatives(bidirectional=bidirectional))


@st.composite
def rates(draw: st.DrawFn) -> dict[str, float]:
    """Any dropouts of an LSTM."""
    names = ("dropout", "input_dropout", "state_dropout", "candidate_dropout", "weight_dropout")
    return {name: rate for name in names if (rate := draw(RATES))}
