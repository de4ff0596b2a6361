"""What keeps the board from being served."""


class CannotServe(Exception):
    """The address cannot be listened on. The message names the setting and the next step."""
