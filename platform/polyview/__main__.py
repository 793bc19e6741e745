"""`python -m polyview VERB …`: the same command line, by the Python that a job on a cluster finds."""

from polyview.cli import main

main()
