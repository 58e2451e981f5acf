"""What a person sees of a run, on standard error: a bar, a few lines, or nothing."""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from lstmkit.spec.extras import import_extra

# A rich refresh takes about 2 ms and fetching the loss waits for the device.
_BAR_SECONDS = 0.5
_LINE_SECONDS = 10.0


@dataclass(frozen=True)
class Status:
    """The figures of one moment."""

    step: int
    total_steps: int | None
    epoch: int
    fraction: float
    loss: float
    score: float | None
    best_score: float | None
    steps_per_second: float
    seconds_left: float | None

    def text(self) -> str:
        """The figures in one line."""
        parts = [f"epoch {self.epoch}", f"loss {self.loss:.4g}"]
        if self.score is not None:
            parts.append(f"validation {self.score:.4g}")
        if self.best_score is not None:
            parts.append(f"(best {self.best_score:.4g})")
        parts.append(f"{self.steps_per_second:.3g} steps/s")
        if self.seconds_left is not None:
            parts.append(f"{clock(self.seconds_left)} left")
        return "  ".join(parts)


class Progress(Protocol):
    """Where a run reports to."""

    def __enter__(self) -> "Progress": ...
    def __exit__(self, *_: object) -> None: ...
    def due(self) -> bool:
        """Whether it is time for another :meth:`show`; asked after each step, so it costs next to nothing."""
        ...

    def show(self, status: Status, *, validated: bool = False) -> None:
        """Show the figures."""
        ...

    def message(self, text: str) -> None:
        """Show a sentence that stays."""
        ...


def choose_progress(title: str, quiet: bool) -> Progress:
    """A bar on a terminal, lines elsewhere, nothing if quiet."""
    if quiet:
        return Silence()
    return Bar(title) if sys.stderr.isatty() else Lines(title)


class Silence:
    """Shows nothing."""

    def __enter__(self) -> "Silence":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def due(self) -> bool:
        """Never."""
        return False

    def show(self, status: Status, *, validated: bool = False) -> None:
        """Nothing."""

    def message(self, text: str) -> None:
        """Nothing."""


class Lines:
    """A line every ten seconds, and one per validation unless they come faster than every two."""

    def __init__(self, title: str, now: Callable[[], float] = time.monotonic) -> None:
        self._title = title
        self._now = now
        self._shown = -1
        self._next = now() + _LINE_SECONDS

    def __enter__(self) -> "Lines":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def due(self) -> bool:
        """Every ten seconds."""
        return self._now() >= self._next

    def show(self, status: Status, *, validated: bool = False) -> None:
        """One line, unless a validation comes within two seconds of the line before."""
        too_soon = validated and self._now() < self._next - _LINE_SECONDS + 2 and status.fraction < 1
        if too_soon or status.step == self._shown:
            return
        self._shown = status.step
        self._next = self._now() + _LINE_SECONDS
        total = f"/{status.total_steps}" if status.total_steps else ""
        self.message(f"step {status.step}{total}  {status.text()}")

    def message(self, text: str) -> None:
        """One line."""
        print(f"{self._title}: {text}", file=sys.stderr, flush=True)


class Bar:
    """A rich bar, drawn by the training thread itself at its own pace."""

    def __init__(self, title: str) -> None:
        progress: Any = import_extra("rich.progress", "train")
        console = import_extra("rich.console", "train").Console(stderr=True)
        self._bar = progress.Progress(
            progress.TextColumn("{task.description}"),
            progress.BarColumn(bar_width=20),
            progress.TextColumn("{task.percentage:>3.0f}%  {task.fields[figures]}", markup=False),
            console=console,
            auto_refresh=False,
        )
        self._task = self._bar.add_task(title, total=1.0, figures="")
        self._next = 0.0

    def __enter__(self) -> "Bar":
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.refresh()
        self._bar.stop()

    def due(self) -> bool:
        """Twice a second."""
        return time.monotonic() >= self._next

    def show(self, status: Status, *, validated: bool = False) -> None:
        """Redraw, twice a second at most."""
        if not self.due() and status.fraction < 1:
            return
        self._next = time.monotonic() + _BAR_SECONDS
        self._bar.update(self._task, completed=status.fraction, figures=status.text(), refresh=True)

    def message(self, text: str) -> None:
        """A line above the bar."""
        self._bar.console.print(text, markup=False, highlight=False)


def clock(seconds: float) -> str:
    """Seconds as ``m:ss`` or ``h:mm:ss``.

    Example:
        >>> clock(75.2), clock(3700)
        ('1:15', '1:01:40')
    """
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"
