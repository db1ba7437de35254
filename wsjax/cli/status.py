"""Exit statuses of the command line."""

FAILED = 1
USER_ERROR = 2
TERMINATED = 75  # EX_TEMPFAIL: try again, it goes on.
INTERRUPTED = 130
