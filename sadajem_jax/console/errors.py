"""The one kind of error that a user can mend: main prints it as one line, without a traceback."""


class UserError(Exception):
    """What was expected, what was found and what to do, in one line."""
