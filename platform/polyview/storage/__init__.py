"""Where things are kept: a home's folders, on this disk or mirrored from a bucket."""
