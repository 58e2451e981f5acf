"""What lies between two rows of a series: a step of time, of the calendar, or of a counter."""

import re
from dataclasses import dataclass
from difflib import get_close_matches

from lstmkit.spec import OptionError

_SECOND = 1_000_000_000
DAY = 86_400 * _SECOND

# Units of a fixed duration, in nanoseconds, shortest first.
DURATIONS: dict[str, int] = {
    "ns": 1,
    "us": 1_000,
    "ms": 1_000_000,
    "s": _SECOND,
    "min": 60 * _SECOND,
    "h": 3600 * _SECOND,
    "D": DAY,
    "W": 7 * DAY,
}

WEEKDAYS = ("MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN")

# alias -> (count, unit); quarters and years are months, and the older pandas names still count.
_ALIASES: dict[str, tuple[int, str]] = {
    **{unit: (1, unit) for unit in (*DURATIONS, "B", "MS", "ME")},
    **{"QS": (3, "MS"), "QE": (3, "ME"), "YS": (12, "MS"), "YE": (12, "ME")},
    **{"N": (1, "ns"), "U": (1, "us"), "L": (1, "ms"), "S": (1, "s"), "T": (1, "min"), "H": (1, "h")},
    **{"M": (1, "ME"), "Q": (3, "ME"), "Y": (12, "ME"), "A": (12, "ME"), "AS": (12, "MS"), "d": (1, "D")},
}

# What people write in words, for the hint of an error.
_WORDS = {
    **{"second": "s", "minute": "min", "hour": "h", "hourly": "h", "day": "D", "daily": "D", "business": "B"},
    **{"week": "W", "weekly": "W", "month": "MS", "monthly": "MS", "quarter": "QS", "quarterly": "QS"},
    **{"year": "YS", "yearly": "YS", "annual": "YS", "m": "min", "mo": "MS", "q": "QS", "y": "YS", "w": "W"},
}


@dataclass(frozen=True)
class Frequency:
    """The step of a series: ``count`` times ``unit``.

    Where on its grid a series stands (the minute past the hour, the weekday, the month of a
    quarter) is not part of the frequency: each series brings it with its own timestamps.

    Args:
        count: How many units make one step.
        unit: ``""`` for plain integers; ``ns us ms s min h D W`` for durations; ``B`` for business
            days; ``MS`` and ``ME`` for months counted from their start or their end.
        anchor: Weekday or month that pandas' name of the frequency carries, as in ``W-SUN``; only a name.

    Example:
        >>> frequency = Frequency(15, "min")
        >>> str(frequency), frequency.season_length
        ('15min', 96)
        >>> str(Frequency(3, "MS"))
        'QS'
    """

    count: int = 1
    unit: str = ""
    anchor: str = ""

    def __str__(self) -> str:
        """The name as pandas writes it."""
        count, name = self.count, self.unit
        if self.unit in ("MS", "ME"):
            months, letter = next((m, k) for m, k in ((12, "Y"), (3, "Q"), (1, "M")) if count % m == 0)
            count, name = count // months, letter + self.unit[1]
        anchor = f"-{self.anchor}" if self.anchor else ""
        return f"{count if count > 1 or not name else ''}{name}{anchor}"

    @property
    def is_integer(self) -> bool:
        """Whether the timestamps are plain counters without a calendar."""
        return not self.unit

    @property
    def duration(self) -> int | None:
        """Nanoseconds of one step, or None where they vary (months, business days, integers)."""
        return self.count * DURATIONS[self.unit] if self.unit in DURATIONS else None

    @property
    def season_length(self) -> int:
        """Steps of the season that such data usually has; 1 where there is none.

        Below a day it is the shortest of minute, hour and day that holds at least 30 steps, else the day.
        """
        cycle = {"": 1, "B": 5, "MS": 12, "ME": 12, "W": 52, "D": 7}.get(self.unit)
        if cycle is not None:
            return cycle // self.count if cycle % self.count == 0 else 1
        step = self.count * DURATIONS[self.unit]
        cycles = [DURATIONS[unit] for unit in ("min", "h") if DURATIONS[unit] >= 30 * step]
        return max(1, min([*cycles, DAY]) // step)


def parse_frequency(name: "str | int | Frequency") -> Frequency:
    """Read a frequency as pandas writes it; an int is the step of a counter.

    Raises:
        OptionError: no such frequency; the message names the nearest one.

    Example:
        >>> parse_frequency("24h")
        Frequency(count=1, unit='D', anchor='')
    """
    if isinstance(name, Frequency):
        return name
    if isinstance(name, int) and not isinstance(name, bool):
        if name < 1:
            raise OptionError(f"a frequency in whole numbers must be at least 1, not {name}")
        return Frequency(name)
    found = re.fullmatch(r"\s*(\d*)\s*([A-Za-z]+)(?:-([A-Z]{3}))?\s*", name) if isinstance(name, str) else None
    if found is None or found[2] not in _ALIASES or found[1].strip("0") == "" != found[1]:
        raise OptionError(_unknown(name))
    count, unit = _ALIASES[found[2]]
    count *= int(found[1] or 1)
    if unit in DURATIONS and unit != "W":
        return frequency_of_duration(count * DURATIONS[unit])
    return Frequency(count, unit, found[3] or "")


def frequency_of_duration(nanoseconds: int) -> Frequency:
    """The frequency of a fixed step, in the longest unit that divides it; weeks stay days.

    Example:
        >>> str(frequency_of_duration(90 * 60 * 10**9))
        '90min'
    """
    unit = next(unit for unit in reversed(DURATIONS) if unit != "W" and nanoseconds % DURATIONS[unit] == 0)
    return Frequency(nanoseconds // DURATIONS[unit], unit)


def _unknown(name: object) -> str:
    text = re.sub(r"^\s*\d+\s*", "", str(name)).strip()
    names = [alias for alias in _ALIASES if len(alias) > 1 or alias in "hDWBs"]
    match = _WORDS.get(text.lower()) or next(iter(get_close_matches(text, [*names, *_WORDS], n=1, cutoff=0.5)), None)
    nearest = f"did you mean {_WORDS.get(match, match)!r}? " if match else ""
    return (
        f"no frequency is called {name!r}; {nearest}"
        "Known are s, min, h, D, B, W, MS, ME, QS, QE, YS, YE, multiples such as '15min', and whole numbers"
    )
