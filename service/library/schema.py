"""The table of results: one row a recording, in columns that never change their type."""

from collections.abc import Iterable
from typing import Any

import pyarrow as pa

SCORE = pa.struct([("label", pa.string()), ("score", pa.float32())])

SCHEMA = pa.schema(
    [
        # Which recording, as it was when it was read.
        ("path", pa.string()),
        ("size", pa.int64()),
        ("mtime", pa.timestamp("ns", tz="UTC")),
        ("sha256", pa.string()),
        # What `POST /classify` answers.
        ("duration_s", pa.float64()),
        ("analysed_s", pa.float64()),
        ("genre", pa.string()),
        ("confidence", pa.float32()),
        ("decision", pa.string()),
        ("genres", pa.list_(pa.string())),
        ("scores", pa.list_(SCORE)),
        ("warnings", pa.list_(pa.string())),
        ("embedding", pa.list_(pa.float32())),
        # Why there is no answer.
        ("error_type", pa.string()),
        ("error_detail", pa.string()),
        # Who answered.
        ("model_id", pa.string()),
        ("model_revision", pa.string()),
        ("backend", pa.string()),
        ("seconds", pa.float64()),
    ]
)
"""The columns of the result. Of a recording with an error those of the answer are null, and the other way round."""

Row = dict[str, Any]
"""The values of `SCHEMA` by column; what is missing is null."""


def to_table(rows: Iterable[Row]) -> pa.Table:
    """The rows as a table of `SCHEMA`, whichever columns are null in all of them."""
    return pa.Table.from_pylist(list(rows), schema=SCHEMA)
