"""torch.nn's recurrent layers inside a model, replaced by ours in place."""

from dataclasses import dataclass
from typing import Any

from torch import nn

from lstmkit.nn.build import build
from lstmkit.nn.cells import GRUCell, LSTMCell, RNNCell, StepCell
from lstmkit.nn.layer import RecurrentLayer
from lstmkit.spec import TORCH_CELLS, torch_spec

_CELLS = {nn.LSTMCell: LSTMCell, nn.GRUCell: GRUCell, nn.RNNCell: RNNCell}

# What a module keeps of its callers. The dictionaries move as they are, so that a hook's handle still removes it.
_HOOKS = (
    "_backward_hooks",
    "_backward_pre_hooks",
    "_forward_hooks",
    "_forward_hooks_always_called",
    "_forward_hooks_with_kwargs",
    "_forward_pre_hooks",
    "_forward_pre_hooks_with_kwargs",
    "_is_full_backward_hook",
    "_load_state_dict_post_hooks",
    "_load_state_dict_pre_hooks",
    "_state_dict_hooks",
    "_state_dict_pre_hooks",
)


@dataclass(frozen=True)
class Conversion:
    """What :func:`convert` did.

    Args:
        replaced: Names of the layers that are ours now.
        left: Name -> why it was left as it is.
    """

    replaced: tuple[str, ...]
    left: dict[str, str]

    def __str__(self) -> str:
        lines = [f"replaced {len(self.replaced)}: {', '.join(self.replaced) or '-'}"]
        return "\n".join([*lines, *(f"left {name or 'the model itself'}: {why}" for name, why in self.left.items())])


def convert(model: nn.Module) -> Conversion:
    """Replace every ``torch.nn.LSTM``, ``GRU`` and ``RNN`` inside a model, and their cells, by ours, in place.

    Outputs stay equal up to rounding, and dropout between layers draws other masks. Parameters stay the same
    objects, so optimizers, tied weights and ``state_dict`` go on; so do device, dtype, training mode and hooks. A layer
    that stands in several places is one layer afterwards too.

    Args:
        model: Any module. Its own class must look its layers up when it runs, as ``self.lstm(x)`` does.

    Returns:
        What was replaced, and what was left with the reason: subclasses, layers with parametrised, pruned or otherwise
        rewritten weights, compiled layers.

    Example:
        >>> model = nn.Sequential(nn.LSTM(3, 5), nn.Identity())
        >>> print(convert(model))
        replaced 1: 0
        >>> type(model[0]).__module__
        'lstmkit.nn.lstm'
    """
    replaced: list[str] = []
    left: dict[str, str] = {}
    ours: dict[nn.Module, RecurrentLayer | StepCell] = {}
    for name, module in [*model.named_modules(remove_duplicate=False)]:
        if not _is_recurrent(module) or isinstance(module, RecurrentLayer | StepCell):
            continue
        why = _obstacle(module) if name else "it has no place to put another into; take lstmkit.nn's class instead"
        if why:
            left[name] = why
            continue
        if module not in ours:
            ours[module] = _twin(module)
        parent, _, own = name.rpartition(".")
        setattr(model.get_submodule(parent), own, ours[module])
        replaced.append(name)
    return Conversion(tuple(replaced), left)


def _is_recurrent(module: nn.Module) -> bool:
    """By class, or by name for what is scripted or quantised."""
    name = getattr(module, "original_name", type(module).__name__)
    return isinstance(module, nn.RNNBase | nn.RNNCellBase) or name in TORCH_CELLS


def _obstacle(module: nn.Module) -> str | None:
    kind = type(module)
    if hasattr(module, "parametrizations"):
        return f"its weights are parametrised: {', '.join(module.parametrizations)}"  # pyright: ignore
    if kind not in (nn.LSTM, nn.GRU, nn.RNN, *_CELLS):
        return f"it is a {kind.__module__}.{kind.__qualname__}, which may compute something else than torch.nn's layers"
    strange = sorted(set(module._parameters) ^ _names(module))
    return f"its weights are rewritten by something else: {strange[0]}" if strange else None


def _names(module: Any) -> set[str]:
    """The parameters that torch gave the module; a cell without biases has them as None."""
    if type(module) in _CELLS:
        return {"weight_ih", "weight_hh", "bias_ih", "bias_hh"}
    return {name for names in module._all_weights for name in names}


def _twin(module: Any) -> RecurrentLayer | StepCell:
    """Our module with the same parameters, made on no device so that nothing is allocated."""
    if type(module) in _CELLS:
        own = {"nonlinearity": module.nonlinearity} if type(module) is nn.RNNCell else {}
        twin = _CELLS[type(module)](module.input_size, module.hidden_size, module.bias, device="meta", **own)
    else:
        twin = build(torch_spec(module), batch_first=module.batch_first, device="meta")
        twin.dropout = module.dropout
    for name, parameter in module._parameters.items():
        setattr(twin, name, parameter)
    for name in _HOOKS:
        twin.__dict__[name] = module.__dict__[name]
    return twin.train(module.training)
