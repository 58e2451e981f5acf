"""The only registry of cells: what each one is called, is made of, keeps and comes from.

Shapes are text: axes stand apart, each the product of digits and of letters that a CellSpec knows (``"GH I"`` is
``G*H`` rows and ``I`` columns): ``G`` gates that have weights, ``H`` units, ``I`` inputs, ``R`` outputs, ``E`` extra
inputs, ``N`` heads, ``S`` units of a head, ``M`` chunks of units, ``O`` and ``V`` odd and even rounds, ``Q`` their
rank; of an LSTM also ``F`` gates among i, f and o that have weights, and ``K`` peepholes; of a ConvLSTM ``X``, an axis
per axis of space.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from lstmkit.spec.errors import OptionError


@dataclass(frozen=True)
class Parameter:
    """One array of a layer and direction: its name, its shape in letters, the options without which it is absent."""

    name: str
    shape: str
    needs: str = ""


@dataclass(frozen=True)
class CatalogEntry:
    """One cell, described by data alone.

    Args:
        gates: Gate letters in the order in which their rows stand in a weight matrix.
        states: What is carried from step to step: name -> shape of one row, in letters.
        parameters: The arrays of one layer and direction, in order.
        title: What people call it.
        source: Paper that defines it.
        options: Options of a CellSpec or of its Variant that this cell has and others need not have; ``"variant"``
            stands for all of the latter.
        extra: What it reads at each step beside its input, by the name of the layer's argument; None for most.
        driver: ``"steps"``: one step after the other; ``"chunks"``: also many steps at once; ``"space"``: steps over
            arrays with axes of space behind their channels; ``"tree"``: node after node, over trees.
    """

    gates: tuple[str, ...]
    states: Mapping[str, str]
    parameters: tuple[Parameter, ...]
    title: str
    source: str
    options: tuple[str, ...] = ()
    extra: str | None = None
    driver: str = "steps"


_WEIGHTS = (Parameter("weight_ih", "GH I"), Parameter("weight_hh", "GH R"))
_BIASES = (Parameter("bias_ih", "GH", "bias"), Parameter("bias_hh", "GH", "bias"))
_ONE_BIAS = (*_WEIGHTS, Parameter("bias_ih", "GH", "bias"))
_INPUT_ONLY = (Parameter("weight_ih", "GH I"), Parameter("bias_ih", "GH", "bias"))

CATALOG: dict[str, CatalogEntry] = {
    "lstm": CatalogEntry(
        gates=("i", "f", "g", "o"),
        states={"h": "R", "c": "H"},
        parameters=(
            *_WEIGHTS,
            *_BIASES,
            Parameter("weight_hr", "R H", "proj_size"),
            Parameter("bias_hr", "R", "proj_bias"),
            Parameter("weight_ch", "KH", "peepholes"),
            Parameter("weight_gates", "FH FH", "full_gate_recurrence"),
            Parameter("gain_ih", "GH", "normalises_products"),
            Parameter("gain_hh", "GH", "normalises_products"),
            Parameter("gain_gates", "GH", "normalises_gates"),
            Parameter("gain_c", "H", "normalises_cell"),
            Parameter("bias_c", "H", "normalises_cell bias"),
        ),
        title="LSTM with forget gate",
        source="Hochreiter & Schmidhuber, Neural Computation 9(8), 1997; "
        "Gers, Schmidhuber & Cummins, Neural Computation 12(10), 2000; "
        "projection: Sak, Senior & Beaufays, Interspeech 2014",
        options=("proj_size", "layer_sizes", "skip", "variant"),
    ),
    "rnn": CatalogEntry(
        gates=("g",),
        states={"h": "H"},
        parameters=(*_WEIGHTS, *_BIASES),
        title="Simple recurrent network",
        source="Elman, Cognitive Science 14(2), 1990; relu: Le, Jaitly & Hinton, arXiv:1504.00941, 2015",
        options=("nonlinearity", "gate_clip"),
    ),
    "gru": CatalogEntry(
        gates=("r", "z", "n"),
        states={"h": "H"},
        parameters=(*_WEIGHTS, *_BIASES),
        title="Gated recurrent unit",
        source="Cho et al., EMNLP 2014, eq. 5-8; reset after the product: arXiv:1406.1078v1, cuDNN",
        options=("reset_after", "gate_activation", "candidate_activation", "gate_clip"),
    ),
    "slstm": CatalogEntry(
        gates=("i", "f", "z", "o"),
        states={"h": "H", "c": "H", "n": "H", "m": "H"},
        parameters=(Parameter("weight_ih", "GH I"), Parameter("weight_hh", "GH S"), Parameter("bias_ih", "GH", "bias")),
        title="sLSTM, with exponential gates",
        source="Beck et al., xLSTM, NeurIPS 2024, arXiv:2405.04517, eq. 8-17",
        options=("num_heads",),
    ),
    "mlstm": CatalogEntry(
        gates=("i", "f", "o"),
        states={"c": "N S S", "n": "N S", "m": "N"},
        parameters=(
            Parameter("weight_qkvo", "4H I"),
            Parameter("weight_if", "2N I"),
            Parameter("bias_qkvo", "4H", "bias"),
            Parameter("bias_if", "2N", "bias"),
        ),
        title="mLSTM, with a matrix for its memory",
        source="Beck et al., xLSTM, NeurIPS 2024, arXiv:2405.04517, eq. 19-27",
        options=("num_heads",),
        driver="chunks",
    ),
    "minlstm": CatalogEntry(
        gates=("i", "f", "g"),
        states={"h": "H"},
        parameters=_INPUT_ONLY,
        title="minLSTM, whose gates see the input alone",
        source="Feng et al., Were RNNs all we needed?, arXiv:2410.01201, 2024, section 3.2",
        driver="chunks",
    ),
    "mingru": CatalogEntry(
        gates=("z", "g"),
        states={"h": "H"},
        parameters=_INPUT_ONLY,
        title="minGRU, whose gate sees the input alone",
        source="Feng et al., Were RNNs all we needed?, arXiv:2410.01201, 2024, section 3.1",
        driver="chunks",
    ),
    "janet": CatalogEntry(
        gates=("f", "g"),
        states={"h": "H"},
        parameters=_ONE_BIAS,
        title="JANET, just a forget gate",
        source="van der Westhuizen & Lasenby, The unreasonable effectiveness of the forget gate, arXiv:1804.04849, "
        "2018, section 3",
        options=("beta",),
    ),
    "multiplicative": CatalogEntry(
        gates=("i", "f", "g", "o"),
        states={"h": "H", "c": "H"},
        parameters=(
            Parameter("weight_ih", "GH I"),
            Parameter("weight_mh", "GH H"),
            Parameter("bias_ih", "GH", "bias"),
            Parameter("weight_im", "H I"),
            Parameter("weight_hm", "H H"),
        ),
        title="Multiplicative LSTM",
        source="Krause et al., Multiplicative LSTM for sequence modelling, arXiv:1609.07959, 2016, eq. 16-20",
    ),
    "mogrifier": CatalogEntry(
        gates=("i", "f", "g", "o"),
        states={"h": "H", "c": "H"},
        parameters=(
            *_ONE_BIAS,
            Parameter("weight_q", "O I H", "full_rank"),
            Parameter("weight_r", "V H I", "full_rank"),
            Parameter("weight_q_left", "O I Q", "rank"),
            Parameter("weight_q_right", "O Q H", "rank"),
            Parameter("weight_r_left", "V H Q", "rank"),
            Parameter("weight_r_right", "V Q I", "rank"),
        ),
        title="Mogrifier LSTM",
        source="Melis, Kocisky & Blunsom, Mogrifier LSTM, ICLR 2020, arXiv:1909.01792, eq. 1-2",
        options=("rounds", "rank"),
    ),
    "on_lstm": CatalogEntry(
        gates=("i", "f", "g", "o", "master_i", "master_f"),
        states={"h": "H", "c": "H"},
        parameters=(
            Parameter("weight_ih", "4H I"),
            Parameter("weight_hh", "4H H"),
            Parameter("bias_ih", "4H", "bias"),
            Parameter("weight_master_ih", "2M I"),
            Parameter("weight_master_hh", "2M H"),
            Parameter("bias_master_ih", "2M", "bias"),
        ),
        title="ON-LSTM, with ordered neurons",
        source="Shen, Tan, Sordoni & Courville, Ordered neurons, ICLR 2019, arXiv:1810.09536, eq. 9-14",
        options=("chunk_size",),
    ),
    "phased": CatalogEntry(
        gates=("i", "f", "g", "o", "k"),
        states={"h": "H", "c": "H"},
        parameters=(
            Parameter("weight_ih", "4H I"),
            Parameter("weight_hh", "4H H"),
            Parameter("bias_ih", "4H", "bias"),
            Parameter("log_period", "H"),
            Parameter("shift", "H"),
            Parameter("ratio_logit", "H"),
        ),
        title="Phased LSTM, for events",
        source="Neil, Pfeiffer & Liu, Phased LSTM, NeurIPS 2016, arXiv:1610.09513, eq. 6-11",
        options=("leak",),
        extra="times",
    ),
    "time_aware": CatalogEntry(
        gates=("i", "f", "g", "o"),
        states={"h": "H", "c": "H"},
        parameters=(*_ONE_BIAS, Parameter("weight_d", "H H"), Parameter("bias_d", "H", "bias")),
        title="T-LSTM, for uneven intervals",
        source="Baytas et al., Patient subtyping via time-aware LSTM networks, KDD 2017, section 3",
        extra="intervals",
    ),
    "entity_aware": CatalogEntry(
        gates=("i", "f", "g", "o"),
        states={"h": "H", "c": "H"},
        parameters=(
            Parameter("weight_ih", "3H I"),
            Parameter("weight_hh", "3H H"),
            Parameter("bias_ih", "3H", "bias"),
            Parameter("weight_sh", "H E"),
            Parameter("bias_sh", "H", "bias"),
        ),
        title="EA-LSTM, with static features",
        source="Kratzert et al., Hydrology and Earth System Sciences 23(12), 2019, section 2",
        options=("static_size",),
        extra="static",
    ),
    "lstm1997": CatalogEntry(
        gates=("i", "g", "o"),
        states={"h": "H", "c": "H"},
        parameters=_ONE_BIAS,
        title="LSTM of 1997, with its truncated gradient",
        source="Hochreiter & Schmidhuber, Neural Computation 9(8), 1997, section 4 and appendix A.1",
    ),
    "conv_lstm": CatalogEntry(
        gates=("i", "f", "g", "o"),
        states={"h": "H", "c": "H"},
        parameters=(
            Parameter("weight_ih", "GH I X"),
            Parameter("weight_hh", "GH H X"),
            Parameter("bias_ih", "GH", "bias"),
        ),
        title="ConvLSTM",
        source="Shi et al., NeurIPS 2015, arXiv:1506.04214, eq. 3",
        options=(
            "kernel_size",
            "padding",
            "gate_activation",
            "candidate_activation",
            "cell_activation",
            "gate_clip",
        ),
        driver="space",
    ),
    "tree": CatalogEntry(
        gates=("i", "f", "g", "o"),
        states={"h": "H", "c": "H"},
        parameters=_ONE_BIAS,
        title="Child-sum Tree-LSTM",
        source="Tai, Socher & Manning, ACL 2015, eq. 2-8",
        driver="tree",
    ),
}


def catalog_entry(cell: str) -> CatalogEntry:
    """Look a cell up.

    Raises:
        OptionError: no cell of that name; the message lists those that exist.

    Example:
        >>> catalog_entry("lstm").gates
        ('i', 'f', 'g', 'o')
    """
    if cell not in CATALOG:
        raise OptionError(f"no cell is called {cell!r}; the catalog has: {', '.join(sorted(CATALOG))}")
    return CATALOG[cell]
