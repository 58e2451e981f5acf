"""Attention to put beside recurrent layers: additive, dot product, several heads."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from lstmkit.nn.options import check_batch_first
from lstmkit.reference import additive_scores, attend, check_lengths, dot_scores
from lstmkit.spec import OptionError, ShapeError


class _Case(NamedTuple):
    """Batch first, with padding that holds zeros."""

    query: Tensor  # (B, Tq, Q)
    key: Tensor  # (B, Tk, K)
    value: Tensor  # (B, Tk, V)
    readable: Tensor | None  # (B, 1, Tk) bool


class Attention(nn.Module):
    """What the attention layers share; a subclass says how it scores.

    Args:
        query_size: Features of a query, ``Q``.
        key_size: Features of a key, ``K``.
        batch_first: Whether all are ``(B, T, ...)`` instead of ``(T, B, ...)``.
    """

    def __init__(self, query_size: int, key_size: int, batch_first: bool) -> None:
        super().__init__()
        for name, size in (("query_size", query_size), ("key_size", key_size)):
            _check_size(name, size)
        check_batch_first(batch_first)
        self.query_size, self.key_size, self.batch_first = query_size, key_size, batch_first

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor | None = None,
        *,
        lengths: Tensor | Sequence[int] | None = None,
        return_weights: bool = False,
    ) -> Any:
        """What each query reads; with ``return_weights`` also how much of each key.

        Args:
            query: Who reads, such as a decoder's outputs.
            key: What is compared, such as an encoder's outputs.
            value: What is read; None is the keys.
            lengths: Real keys of each row; those beyond are not read, whatever they hold.
            return_weights: Also return the weights, which add up to 1 for each query.

        Shape:
            - query: ``(Tq, B, Q)``; key: ``(Tk, B, K)``; value: ``(Tk, B, V)``; result: ``(Tq, B, V)``;
              weights: ``(B, Tq, Tk)``, with heads ``(B, N, Tq, Tk)``

        Raises:
            ShapeError: a shape does not fit, or a length is outside ``1..Tk``.
        """
        case = self._arrange(query, key, key if value is None else value, lengths)
        output, weights = self._attend(case)
        output = output if self.batch_first else output.transpose(0, 1)
        return (output, weights) if return_weights else output

    def _attend(self, case: _Case) -> tuple[Tensor, Tensor]:
        return attend(torch, self._scores(case.query, case.key), case.value, case.readable)

    def _scores(self, query: Tensor, key: Tensor) -> Tensor:
        raise NotImplementedError

    def _arrange(self, query: Tensor, key: Tensor, value: Tensor, lengths: Any) -> _Case:
        for name, given, size in (
            ("query", query, self.query_size),
            ("key", key, self.key_size),
            ("value", value, None),
        ):
            if not isinstance(given, Tensor) or given.dim() != 3 or (size and given.shape[2] != size):
                found = tuple(given.shape) if isinstance(given, Tensor) else type(given).__name__
                order = "B, T" if self.batch_first else "T, B"
                raise ShapeError(f"the {name} must have shape ({order}, {size or 'V'}), not {found}")
        if not self.batch_first:
            query, key, value = (given.transpose(0, 1) for given in (query, key, value))
        if not len(query) == len(key) == len(value) or key.shape[1] != value.shape[1] or not key.shape[1]:
            shapes = ", ".join(str(tuple(given.shape[:2])) for given in (query, key, value))
            raise ShapeError(
                f"query, key and value must have one batch, and a value for each of at least one key, not {shapes}"
            )
        if lengths is None:
            return _Case(query, key, value, None)
        lengths = torch.as_tensor(lengths, device=key.device)
        if lengths.shape != (len(key),):
            raise ShapeError(f"lengths must have shape ({len(key)},), not {tuple(lengths.shape)}")
        check_lengths(lengths, key.shape[1])
        readable = torch.arange(key.shape[1], device=key.device) < lengths[:, None]
        key, value = (torch.where(readable[:, :, None], given, 0.0) for given in (key, value))
        return _Case(query, key, value, readable[:, None])


class AdditiveAttention(Attention):
    r"""Additive attention: a small network compares query and key.

    .. math::
        e_{ij} = v^\top \tanh(W q_i + U k_j + b) \qquad \alpha_{ij} = \operatorname{softmax}_j e_{ij} \qquad
        c_i = \sum_j \alpha_{ij} v_j

    Args:
        query_size: Features of a query, ``Q``.
        key_size: Features of a key, ``K``.
        attention_size: Units of the network, ``A``.
        bias: Whether it has a bias.
        batch_first: Whether all are ``(B, T, ...)`` instead of ``(T, B, ...)``.
        device: Where the parameters are made.
        dtype: Type of the parameters.

    Shape:
        - weight_q: ``(A, Q)``; weight_k: ``(A, K)``; weight_v: ``(A,)``; bias: ``(A,)``

    Raises:
        OptionError: a size is not a whole number of at least 1.

    Source: Bahdanau, Cho & Bengio, "Neural machine translation by jointly learning to align and translate", ICLR 2015,
        arXiv:1409.0473, appendix A.1.2.

    Example:
        >>> layer = AdditiveAttention(20, 12, 16)
        >>> read, weights = layer(torch.randn(4, 3, 20), torch.randn(9, 3, 12), lengths=[9, 2, 5], return_weights=True)
        >>> read.shape, weights.shape
        (torch.Size([4, 3, 12]), torch.Size([3, 4, 9]))
    """

    def __init__(
        self,
        query_size: int,
        key_size: int,
        attention_size: int,
        bias: bool = True,
        batch_first: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(query_size, key_size, batch_first)
        _check_size("attention_size", attention_size)
        kinds: dict[str, Any] = {"device": device, "dtype": dtype}
        self.weight_q = nn.Parameter(torch.empty(attention_size, query_size, **kinds))
        self.weight_k = nn.Parameter(torch.empty(attention_size, key_size, **kinds))
        self.weight_v = nn.Parameter(torch.empty(attention_size, **kinds))
        self.bias = nn.Parameter(torch.empty(attention_size, **kinds)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the weights anew: Glorot's for the matrices, uniform for v, zero for the bias."""
        torch.nn.init.xavier_uniform_(self.weight_q)
        torch.nn.init.xavier_uniform_(self.weight_k)
        torch.nn.init.uniform_(self.weight_v, -(self.weight_v.numel() ** -0.5), self.weight_v.numel() ** -0.5)
        if self.bias is not None:
            torch.nn.init.zeros_(self.bias)

    def _scores(self, query: Tensor, key: Tensor) -> Tensor:
        return additive_scores(torch, query, key, self.weight_q, self.weight_k, self.weight_v, self.bias)


class DotAttention(Attention):
    r"""Dot-product attention, without parameters.

    .. math::
        e_{ij} = q_i^\top k_j / \sqrt K, \text{ or without the root if } \texttt{scale=False}

    Args:
        key_size: Features of queries and keys, ``K``.
        scale: Whether scores are divided by the square root of ``K``.
        batch_first: Whether all are ``(B, T, ...)`` instead of ``(T, B, ...)``.

    Raises:
        OptionError: a size is not a whole number of at least 1.

    Source: Luong, Pham & Manning, "Effective approaches to attention-based neural machine translation", EMNLP 2015,
        eq. 8 (dot); scaled: Vaswani et al., "Attention is all you need", NeurIPS 2017, eq. 1.

    Example:
        >>> DotAttention(12)(torch.randn(4, 3, 12), torch.randn(9, 3, 12)).shape
        torch.Size([4, 3, 12])
    """

    def __init__(self, key_size: int, scale: bool = True, batch_first: bool = False) -> None:
        super().__init__(key_size, key_size, batch_first)
        self.scale = scale

    def _scores(self, query: Tensor, key: Tensor) -> Tensor:
        return dot_scores(torch, query, key, self.scale)


class MultiHeadAttention(Attention):
    r"""Several heads of scaled dot-product attention, each on a projection of its own; then one projection of all.

    The parameters are those of torch.nn.MultiheadAttention, whose ``state_dict`` loads.

    Args:
        embed_dim: Features of queries, keys, values and results.
        num_heads: Heads, ``N``.
        bias: Whether the projections have biases.
        batch_first: Whether all are ``(B, T, ...)`` instead of ``(T, B, ...)``.
        device: Where the parameters are made.
        dtype: Type of the parameters.

    Raises:
        OptionError: a size is not a whole number of at least 1, or heads do not divide ``embed_dim``.

    Source: Vaswani et al., "Attention is all you need", NeurIPS 2017, section 3.2.2.

    Example:
        >>> MultiHeadAttention(12, 3)(torch.randn(4, 3, 12), torch.randn(9, 3, 12)).shape
        torch.Size([4, 3, 12])
    """

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        bias: bool = True,
        batch_first: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(embed_dim, embed_dim, batch_first)
        _check_size("num_heads", num_heads)
        if embed_dim % num_heads:
            raise OptionError(f"num_heads must divide embed_dim, not {num_heads} into {embed_dim}")
        self.embed_dim, self.num_heads = embed_dim, num_heads
        kinds: dict[str, Any] = {"device": device, "dtype": dtype}
        self.in_proj_weight = nn.Parameter(torch.empty(3 * embed_dim, embed_dim, **kinds))
        self.in_proj_bias = nn.Parameter(torch.empty(3 * embed_dim, **kinds)) if bias else None
        self.out_proj = nn.Linear(embed_dim, embed_dim, bias, **kinds)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the weights anew: Glorot's for the projections, zero for their biases."""
        torch.nn.init.xavier_uniform_(self.in_proj_weight)
        for value in (self.in_proj_bias, self.out_proj.bias):
            if value is not None:
                torch.nn.init.zeros_(value)

    def _attend(self, case: _Case) -> tuple[Tensor, Tensor]:
        if case.value.shape[2] != self.embed_dim:
            raise ShapeError(f"the value must have {self.embed_dim} features, not {case.value.shape[2]}")
        biases = [None] * 3 if self.in_proj_bias is None else self.in_proj_bias.chunk(3)
        parts = zip((case.query, case.key, case.value), self.in_proj_weight.chunk(3), biases, strict=True)
        query, key, value = (self._split(nn.functional.linear(x, w, b)) for x, w, b in parts)
        readable = None if case.readable is None else case.readable[:, None]
        read, weights = attend(torch, dot_scores(torch, query, key, scale=True), value, readable)
        return self.out_proj(read.transpose(1, 2).flatten(2)), weights

    def _split(self, x: Tensor) -> Tensor:
        """``(B, T, E)`` to a sequence per head, ``(B, N, T, E / N)``."""
        return x.unflatten(2, (self.num_heads, -1)).transpose(1, 2)


def _check_size(name: str, size: Any) -> None:
    if isinstance(size, bool) or not isinstance(size, int) or size < 1:
        raise OptionError(f"{name} must be a whole number of at least 1, not {size!r}")
