"""Machines: what one can do, whether those of a cluster go together, and how a command gets onto them.

In: a command line and a cluster's address. Out: a job on the cluster, or a report on its nodes. Read `submit.py` first.
"""
