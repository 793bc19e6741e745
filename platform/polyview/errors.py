"""The exceptions that a user is meant to read."""


class UserError(Exception):
    """Something the user can fix: one readable line that names the thing, the place and the remedy.

    The command line prints it without a traceback and exits with code 2.
    """


class OutageError(UserError):
    """Something is away that may come back: what it has stopped may be tried again."""


class DiskFullError(UserError):
    """No room is left on a disk: nothing that writes there can go on, and it is no trial's doing."""
