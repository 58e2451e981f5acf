"""Pre- and post-processing shared by training and serving. NumPy only, never torch."""

from lstmkit.features.append import append_rows
from lstmkit.features.calendar import calendar_cycles, calendar_features, calendar_names
from lstmkit.features.ctc import CTCLabels, ctc_beam_search, ctc_greedy
from lstmkit.features.frequency import Frequency, frequency_of_duration, parse_frequency
from lstmkit.features.grid import future_timestamps, join, split
from lstmkit.features.inference import infer_frequency
from lstmkit.features.sampling import Sampler
from lstmkit.features.series import SeriesArrays
from lstmkit.features.text import END, LEVELS, START, UNKNOWN, Encoded, TextEncoder
from lstmkit.features.vocabulary import Vocabulary
from lstmkit.features.windows import Origins, spread, take_rows

__all__ = [
    "END",
    "LEVELS",
    "START",
    "UNKNOWN",
    "CTCLabels",
    "Encoded",
    "Frequency",
    "Origins",
    "Sampler",
    "SeriesArrays",
    "TextEncoder",
    "Vocabulary",
    "append_rows",
    "calendar_cycles",
    "calendar_features",
    "calendar_names",
    "ctc_beam_search",
    "ctc_greedy",
    "frequency_of_duration",
    "future_timestamps",
    "infer_frequency",
    "join",
    "parse_frequency",
    "split",
    "spread",
    "take_rows",
]
