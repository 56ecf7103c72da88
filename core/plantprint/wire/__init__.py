"""The message contract between agents and collector: topics, chunks and small messages, version 1."""

VERSION = 1
CHUNK_BYTES_MAX = 65_536
CHUNK_ROWS_MAX = 500
TABLE_CHANNELS_MAX = 400
