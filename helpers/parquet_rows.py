"""The texts in a parquet file, one to a row, as some copies of OpenWebText have them; needs the package pyarrow.

pyarrow is no requirement of the course: without it such a file is reported, and all else is read. Introduced by
notebook 11 (sections 57 to 61 of the lecture).
"""

import importlib
import io
from collections.abc import Iterator

from helpers.streams import BytesStream, FileStream, Stream, Unreadable

COLUMN = "text"
AT_ONCE = 64  # rows that are decoded at a time


def rows(stream: Stream) -> Iterator[bytes]:
    """The bytes of each row's text: of the column "text", or of the only column of texts.

    stream: a file on the disk or bytes in memory, of which nothing was read. Raises Unreadable.
    """
    if isinstance(stream, FileStream):
        source = stream.file
        source.seek(0)
    elif isinstance(stream, BytesStream):
        source = io.BytesIO(stream.data)
    else:
        raise Unreadable(
            "not supported", "a large parquet file inside an archive: unpack it and name it by itself"
        )
    try:
        arrow = importlib.import_module("pyarrow")
        parquet = importlib.import_module("pyarrow.parquet")
    except ImportError as error:
        raise Unreadable(
            "not supported",
            "a parquet file, which needs the package pyarrow: python -m pip install pyarrow, or name the .tar or .xz "
            "archives of the same corpus",
        ) from error
    try:
        file = parquet.ParquetFile(source, memory_map=False, pre_buffer=False)
        texts = [
            field.name
            for field in file.schema_arrow
            if arrow.types.is_string(field.type) or arrow.types.is_large_string(field.type)
        ]
        column = COLUMN if COLUMN in texts or len(texts) != 1 else texts[0]
        if column not in texts:
            raise Unreadable(
                "not supported", f"a parquet file without a column {COLUMN!r}; its texts are {texts}"
            )
        total = file.metadata.num_rows
        for batch in file.iter_batches(AT_ONCE, columns=[column]):
            for text in batch.column(0).to_pylist():
                yield (text or "").encode("utf-8")
            if isinstance(stream, FileStream):  # for the progress bar: pyarrow reads the file by itself
                stream.count_share(batch.num_rows / total)
    except (arrow.ArrowException, OSError) as error:
        raise Unreadable(
            "damaged", f"damaged: it cannot be read as parquet ({str(error).splitlines()[0]})"
        ) from error
