"""Tables and files in, arrays out, and results back as the kind of table that came in."""

from lstmkit.data.batches import hold_out, length_batches, pad
from lstmkit.data.conll import Sentence, read_conll
from lstmkit.data.disk import DiskList, keep, keep_numbers, keep_texts, parts, take, temporary_file
from lstmkit.data.files import write_table
from lstmkit.data.layout import Layout, result_frame
from lstmkit.data.pairs import Pairs, read_pairs, read_parallel
from lstmkit.data.series_files import SeriesSet, read_series_table, read_ts
from lstmkit.data.tables import Table, read_table
from lstmkit.data.text import RECORDS, read_lines, read_records
from lstmkit.data.times import TimeKind

__all__ = [
    "RECORDS",
    "DiskList",
    "Layout",
    "Pairs",
    "Sentence",
    "SeriesSet",
    "Table",
    "TimeKind",
    "hold_out",
    "keep",
    "keep_numbers",
    "keep_texts",
    "length_batches",
    "pad",
    "parts",
    "read_conll",
    "read_lines",
    "read_pairs",
    "read_parallel",
    "read_records",
    "read_series_table",
    "read_table",
    "read_ts",
    "result_frame",
    "take",
    "temporary_file",
    "write_table",
]
