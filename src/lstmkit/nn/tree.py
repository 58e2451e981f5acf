"""The child-sum Tree-LSTM, for forests of any shape."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from lstmkit.nn import initialisers
from lstmkit.nn.arrange import check_numbers
from lstmkit.reference import tree_levels
from lstmkit.spec import CellSpec, ShapeError


class TreeLSTM(nn.Module):
    r"""Child-sum Tree-LSTM: an LSTM over trees instead of sequences.

    .. math::
        \tilde h_j &= \sum_{k \in C(j)} h_k \\
        i_j &= \sigma(W_i x_j + U_i \tilde h_j + b_i), \text{ and so } g_j \text{ and } o_j \\
        f_{jk} &= \sigma(W_f x_j + U_f h_k + b_f) \\
        c_j &= i_j \odot g_j + \sum_{k \in C(j)} f_{jk} \odot c_k \qquad h_j = o_j \odot \tanh(c_j)

    A batch of trees is one forest: put their nodes below each other. All nodes of one height are computed at once. On a
    chain, where each node has one child, it is an LSTM from a state of zeros.

    Args:
        input_size: Features of a node, ``I``.
        hidden_size: Units, ``H``.
        bias: Whether there are biases.
        device: Where the parameters are made.
        dtype: Type of the parameters.

    Shape:
        - input: ``(N, I)`` for ``N`` nodes in any order; parents: ``(N,)``; h, c: ``(N, H)``
        - weight_ih: ``(4H, I)`` in the order i, f, g, o; weight_hh: ``(4H, H)``; bias_ih: ``(4H,)``

    Raises:
        OptionError: a size is not a whole number of at least 1.

    Source: Tai, Socher & Manning, "Improved semantic representations from tree-structured long short-term memory
        networks", ACL 2015, eq. 2-8.

    Example:
        >>> parents = [2, 2, 4, 4, -1]  # two leaves under node 2; nodes 2 and 3 under the root, node 4
        >>> h, c = TreeLSTM(10, 20)(torch.randn(5, 10), parents)
        >>> h.shape
        torch.Size([5, 20])
    """

    weight_ih: Tensor
    weight_hh: Tensor
    bias_ih: Tensor | None

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.spec = CellSpec(input_size, hidden_size, 1, bias, cell="tree")
        self.input_size, self.hidden_size, self.bias = input_size, hidden_size, bias
        for name, shape in self.spec.parameter_shapes().items():
            parameter = nn.Parameter(torch.empty(shape, device=device, dtype=dtype))
            self.register_parameter(name.removesuffix("_l0"), parameter)
        if not bias:
            self.register_parameter("bias_ih", None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the weights anew, uniformly in ``±1/sqrt(H)``."""
        for parameter in self.parameters():
            initialisers.uniform_(parameter, self.hidden_size)

    def forward(self, input: Tensor, parents: Tensor | Sequence[int]) -> tuple[Tensor, Tensor]:
        """h and c of every node; those of the roots are the sentences'.

        Args:
            input: The nodes' features.
            parents: The number of each node's parent; -1 for a root.

        Raises:
            ShapeError: a shape or dtype does not fit.
            DataError: a parent is no node, or nodes are their own ancestors.
        """
        if not isinstance(input, Tensor) or input.dim() != 2 or input.shape[1] != self.input_size:
            found = tuple(input.shape) if isinstance(input, Tensor) else type(input).__name__
            raise ShapeError(f"the input must have shape (N, {self.input_size}), not {found}")
        check_numbers(input, None, self.weight_ih)
        parent = torch.as_tensor(parents)
        whole = not (parent.is_floating_point() or parent.is_complex()) or not parent.numel()
        if parent.shape != input.shape[:1] or not whole:
            raise ShapeError(f"parents must be {len(input)} whole numbers, not {parent.dtype} {tuple(parent.shape)}")
        return self._run(input, parent.to(input.device, torch.int64), tree_levels(parent.tolist()))

    def _run(self, x: Tensor, parent: Tensor, levels: list[list[int]]) -> tuple[Tensor, Tensor]:
        H = self.hidden_size
        z = torch.nn.functional.linear(x, self.weight_ih, self.bias_ih)
        recurrent = self.weight_hh.split(H)
        to_itself, to_parent = torch.cat([recurrent[0], *recurrent[2:]]), recurrent[1]
        h_sum, kept = x.new_zeros(len(x), H), x.new_zeros(len(x), H)
        every: list[tuple[Tensor, Tensor, Tensor]] = []
        for level in levels:
            nodes = torch.tensor(level, device=x.device)
            u_i, u_g, u_o = (h_sum[nodes] @ to_itself.T).split(H, 1)
            z_i, _, z_g, z_o = z[nodes].split(H, 1)
            c = torch.sigmoid(z_i + u_i) * torch.tanh(z_g + u_g) + kept[nodes]
            h = torch.sigmoid(z_o + u_o) * torch.tanh(c)
            every.append((nodes, h, c))
            below = parent[nodes] >= 0
            above, h, c = parent[nodes][below], h[below], c[below]
            f = torch.sigmoid(z[above, H : 2 * H] + h @ to_parent.T)
            h_sum, kept = h_sum.index_add(0, above, h), kept.index_add(0, above, f * c)
        if not every:
            return h_sum, kept
        nodes, h, c = (torch.cat(parts) for parts in zip(*every, strict=True))
        order = nodes.argsort()
        return h[order], c[order]

    def extra_repr(self) -> str:
        """Sizes, then whatever differs from the defaults."""
        return f"{self.input_size}, {self.hidden_size}" + ("" if self.bias else ", bias=False")
