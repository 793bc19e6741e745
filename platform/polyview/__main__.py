"""`python -m polyview VERB …`: the same command line, by the Python that a job on a cluster finds."""

import signal

from polyview.cli import main

# A Ray that was started in the background has all that it starts ignore Ctrl-C, which is how a job is stopped.
signal.signal(signal.SIGINT, signal.default_int_handler)
main()
