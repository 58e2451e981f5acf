"""Pre- and post-processing shared by training and serving. NumPy only, never torch."""

from lstmkit.features.append import append_rows
from lstmkit.features.calendar import calendar_cycles, calendar_features, calendar_names
from lstmkit.features.ctc import CTCLabels, ctc_beam_search, ctc_greedy
from lstmkit.features.edit_distance import edit_distance, token_error_rate, word_error_rate
from lstmkit.features.frequency import Frequency, frequency_of_duration, parse_frequency
from lstmkit.features.grid import future_timestamps, join, split
from lstmkit.features.inference import infer_frequency
from lstmkit.features.sampling import Sampler
from lstmkit.features.series import SeriesArrays
from lstmkit.features.spans import Span, SpanScore, are_span_tags, read_spans, score_spans, tag_transitions
from lstmkit.features.text import END, LEVELS, START, UNKNOWN, Encoded, TextEncoder
from lstmkit.features.text_choice import Level, check_level, encoder_of
from lstmkit.features.viterbi import viterbi
from lstmkit.features.vocabulary import Vocabulary
from lstmkit.features.windows import Origins, spread, take_rows
from lstmkit.features.words import FORMS, Word, place_words, split_words, word_form

__all__ = [
    "END",
    "FORMS",
    "LEVELS",
    "START",
    "UNKNOWN",
    "CTCLabels",
    "Encoded",
    "Frequency",
    "Level",
    "Origins",
    "Sampler",
    "SeriesArrays",
    "Span",
    "SpanScore",
    "TextEncoder",
    "Vocabulary",
    "Word",
    "append_rows",
    "are_span_tags",
    "calendar_cycles",
    "calendar_features",
    "calendar_names",
    "check_level",
    "ctc_beam_search",
    "ctc_greedy",
    "edit_distance",
    "encoder_of",
    "frequency_of_duration",
    "future_timestamps",
    "infer_frequency",
    "join",
    "parse_frequency",
    "place_words",
    "read_spans",
    "score_spans",
    "split",
    "split_words",
    "spread",
    "tag_transitions",
    "take_rows",
    "token_error_rate",
    "viterbi",
    "word_error_rate",
    "word_form",
]
