"""What lies where in a store, and how the tables of its parts become one.

``store.json`` says what the windows are and names the current signals file and the current index folder. The signals
file holds the windows one behind the other. The index folder holds a folder a commit, ``000000``, ``000001``, ..., with
``windows.parquet`` (a row a window) and ``sources.parquet`` (a row a source: its key, the number of its windows and the
CRC-32 of their bytes). Bytes of the signals file that no part of the index speaks of do not belong to the store.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from tscl.data.recording import Channels
from tscl.errors import DataError

FORMAT_VERSION = 2
INFO = "store.json"
WINDOWS = "windows.parquet"
SOURCES = "sources.parquet"
SOURCE_SCHEMA = pa.schema(
    {
        "key": pa.string(),
        "source": pa.string(),
        "n_windows": pa.int64(),
        "crc32": pa.int64(),
        "trials": pa.string(),
        "skipped": pa.string(),
    }
)

GROUP = 1024
"""Rows that a row group of a merged table has at least, the last one excepted."""


@dataclass(frozen=True)
class StoreInfo:
    """What ``store.json`` says.

    Attributes
    ----------
    channels : Channels
        What the rows of a window are.
    levels : tuple of str
        Id columns from coarse to fine.
    n_times : int
        Time steps of a window.
    target : str or None
        Label column.
    classes : tuple
        Values of the label column in the order of their class index; empty where that is the sorted order.
    recipe : str
        Key of the preprocessing and the levels by which recordings became windows; empty where nobody knows.
    scaled : bool
        Whether the windows of an id were scaled together, behind which nothing can be appended.
    generation : int
        How often signals or index were written anew.
    signals, index : str
        Names of the current signals file and index folder.
    """

    channels: Channels
    levels: tuple[str, ...]
    n_times: int
    target: str | None = None
    classes: tuple[Any, ...] = ()
    recipe: str = ""
    scaled: bool = False
    generation: int = 0
    signals: str = "signals.0.bin"
    index: str = "index.0"

    @property
    def window_bytes(self) -> int:
        """Bytes of one window."""
        return len(self.channels) * self.n_times * 4

    def next(self, *, signals: bool, **changes: Any) -> StoreInfo:
        """Return the description of the next generation: a new index, and with ``signals`` new signals as well."""
        number = self.generation + 1
        name = f"signals.{number}.bin" if signals else self.signals
        return replace(self, generation=number, signals=name, index=f"index.{number}", **changes)

    def to_json(self) -> str:
        """Return the text of ``store.json``."""
        said = {**vars(self), "channels": self.channels.to_dict()}
        return json.dumps({"format_version": FORMAT_VERSION, **said}, indent=1)

    @classmethod
    def from_json(cls, text: str, where: str) -> StoreInfo:
        """Read the text of ``store.json``.

        Raises
        ------
        DataError
            When the text is damaged or of another format.
        """
        try:
            said = json.loads(text)
            version = said.pop("format_version")
            if version == FORMAT_VERSION:
                lists = {name: tuple(said[name]) for name in ("levels", "classes")}
                return cls(**{**said, **lists, "channels": Channels.from_dict(said["channels"])})
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(f"{where} is damaged ({INFO}: {error}): delete it and prepare it again.") from error
        raise DataError(f"{where} has format {version}, this version reads {FORMAT_VERSION}: prepare it again.")


def table_of(frame: pd.DataFrame) -> pa.Table:
    """Return an arrow table of a frame; columns of mixed type, such as 7 and ``"A"``, become text."""
    mixed = [
        name
        for name in frame.columns[[pd.api.types.is_object_dtype(kind) for kind in frame.dtypes]]
        if pd.api.types.infer_dtype(frame[name], skipna=True).startswith("mixed")
    ]
    if mixed:
        frame = frame.assign(**{name: frame[name].map(str, na_action="ignore") for name in mixed})
    return pa.Table.from_pandas(frame, preserve_index=False)


def common_schema(schemas: Sequence[pa.Schema]) -> pa.Schema:
    """Return the columns of all schemas; one that has types which do not go together becomes text."""
    names = dict.fromkeys(name for schema in schemas for name in schema.names)
    fields = []
    for name in names:
        kinds = [pa.schema([schema.field(name)]) for schema in schemas if name in schema.names]
        try:
            fields.append(pa.unify_schemas(kinds, promote_options="permissive").field(name))
        except (pa.ArrowTypeError, pa.ArrowInvalid):
            fields.append(pa.field(name, pa.string()))
    return pa.schema(fields, metadata=schemas[0].metadata)


def fit(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """Bring a table to a schema that :func:`common_schema` made of its own and others."""
    columns = []
    for field in schema:
        if field.name not in table.column_names:
            columns.append(pa.nulls(len(table), field.type))
            continue
        column = table[field.name]
        if field.type == pa.string() and not pa.types.is_string(column.type):
            column = pa.array([None if value is None else str(value) for value in column.to_pylist()], pa.string())
        columns.append(column if column.type == field.type else column.cast(field.type, safe=False))
    return pa.table(columns, schema=schema)


def join(tables: Sequence[pa.Table]) -> pa.Table:
    """Put tables one below the other; a column that one of them lacks is missing there."""
    schema = common_schema([table.schema for table in tables])
    return pa.concat_tables([fit(table, schema) for table in tables])


def write_rows(tables: Iterable[pa.Table], schema: pa.Schema, out: Path) -> None:
    """Write tables one below the other into a parquet file, holding few of them in memory at a time.

    Small ones are put together to row groups of at least ``GROUP`` rows, because a row group costs a description.
    """
    with pq.ParquetWriter(out, schema, write_page_checksum=True) as writer:
        waiting: list[pa.Table] = []
        for table in tables:
            waiting.append(fit(table, schema))
            if sum(map(len, waiting)) >= GROUP:
                writer.write_table(pa.concat_tables(waiting))
                waiting = []
                pa.default_memory_pool().release_unused()
        if waiting:
            writer.write_table(pa.concat_tables(waiting))


def row_groups(paths: Iterable[Path]) -> Iterator[pa.Table]:
    """Read the rows of several parquet files, a row group at a time, their pages checked by their checksums."""
    for path in paths:
        with pq.ParquetFile(path, page_checksum_verification=True) as parquet:
            for number in range(parquet.num_row_groups):
                yield parquet.read_row_group(number, use_threads=False)


def merge_parquet(paths: Sequence[Path], out: Path) -> None:
    """Write the rows of several parquet files into one, holding few row groups in memory at a time."""
    schemas = list(dict.fromkeys(pq.read_schema(path) for path in paths))
    write_rows(row_groups(paths), common_schema(schemas), out)


def read_parquet(file: Any) -> pa.Table:
    """Read a parquet file (path or open file), its pages checked by their checksums."""
    with pq.ParquetFile(file, page_checksum_verification=True) as parquet:
        return parquet.read()


def write_parquet(table: pa.Table, file: Any) -> None:
    """Write a parquet file with a checksum of every page."""
    pq.write_table(table, file, write_page_checksum=True)
