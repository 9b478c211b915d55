"""The one kind of error that a user can mend, and what others' errors say in a line."""


class UserError(Exception):
    """What was expected, what was found and what to do; main prints it without a traceback."""


class Lacking(UserError):
    """What is asked for needs what this machine has not, a package or a GPU, say."""


def first_line(error: BaseException) -> str:
    """The error's type and the first line of its message: libraries write many.

    Examples:
      >>> first_line(ValueError("a bad value:")), first_line(KeyError())
      ('ValueError: a bad value', 'KeyError')
    """
    name, lines = type(error).__name__, str(error).strip().splitlines()
    return f"{name}: {lines[0].rstrip(':')[:500]}" if lines else name
