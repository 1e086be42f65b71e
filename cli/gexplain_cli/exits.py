"""Exit codes that are no error's own (those of errors are in gexplain.errors)."""

INTERRUPTED = 130
READER_GONE = 141
TERMINATED = 143
