"""Tables and files in, arrays out, and results back as the kind of table that came in."""

from lstmkit.data.files import write_table
from lstmkit.data.layout import Layout, result_frame
from lstmkit.data.tables import Table, read_table
from lstmkit.data.times import TimeKind

__all__ = ["Layout", "Table", "TimeKind", "read_table", "result_frame", "write_table"]
