"""Which tokens, or which steps, decided: on the screen and as a page."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from numpy.typing import NDArray

Array = NDArray[Any]

_BAR, _STRONGEST = 12, 12
_FOR, _AGAINST = "46, 125, 50", "198, 40, 40"


@dataclass(frozen=True)
class Explanation:
    """What spoke for a label, and what against it.

    Args:
        label: The label that is explained.
        probability: What the model gives it.
        parts: Tokens as they stand in the text, or names of steps.
        weights: How much each spoke for the label, in logits; below 0 against it.
        offsets: Where each token stands in the text, in characters; None for series.
        text: The text; None for series.
    """

    label: str
    probability: float
    parts: list[str]
    weights: Array
    offsets: list[tuple[int, int]] | None = None
    text: str | None = None

    def __str__(self) -> str:
        """The strongest parts with bars, the strongest first."""
        largest = max(float(abs(self.weights).max()), 1e-12)
        order = sorted(range(len(self.parts)), key=lambda k: -abs(self.weights[k]))[:_STRONGEST]
        width = max(len(self.parts[k]) for k in order)
        lines = [f"{self.label}  {self.probability:.1%}"]
        for k in order:
            bar = "█" * max(1, round(_BAR * abs(self.weights[k]) / largest))
            lines.append(
                f"  {self.parts[k]:<{width}}  {self.weights[k]:+7.3f}  {'+' if self.weights[k] > 0 else '-'} {bar}"
            )
        if len(self.parts) > len(order):
            lines.append(f"  ... {len(self.parts) - len(order):,} weaker ones")
        return "\n".join(lines)

    def html(self) -> str:
        """A paragraph whose words are shaded: green for the label, red against it."""
        largest = max(float(abs(self.weights).max()), 1e-12)
        pieces, end = list[str](), 0
        offsets = self.offsets or _beside(self.parts)
        text = self.text if self.text is not None else " ".join(self.parts)
        for (start, stop), weight in zip(offsets, self.weights, strict=True):
            colour = _FOR if weight > 0 else _AGAINST
            shade = f"background: rgba({colour}, {abs(weight) / largest * 0.75:.2f})"
            pieces.append(escape(text[end:start]))
            pieces.append(f'<span style="{shade}" title="{weight:+.3f}">{escape(text[start:stop])}</span>')
            end = stop
        whole = "".join(pieces) + escape(text[end:])
        return f"<p><b>{escape(self.label)}</b> {self.probability:.1%}: {whole}</p>"


def page(explanations: Sequence[Explanation]) -> str:
    """An HTML page of explanations."""
    body = "\n".join(one.html() for one in explanations)
    style = "body { font: 16px/1.6 sans-serif; max-width: 50em; margin: 2em auto } span { border-radius: 3px }"
    legend = (
        "<p>Green words spoke for the label, red ones against it; a pointer on a word shows by how much (logits).</p>"
    )
    head = f'<meta charset="utf-8"><title>Which words decided</title><style>{style}</style>'
    return f"<!doctype html><html><head>{head}</head><body>\n{legend}\n{body}\n</body></html>"


def _beside(parts: Sequence[str]) -> list[tuple[int, int]]:
    """Offsets of parts that are joined by spaces."""
    offsets, start = list[tuple[int, int]](), 0
    for part in parts:
        offsets.append((start, start + len(part)))
        start += len(part) + 1
    return offsets
