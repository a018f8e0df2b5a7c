"""The one error a user is meant to read."""


class LthError(ValueError):
    """Bad input or a broken file: one line that names the thing and the mend."""
