"""What keeps a program from starting."""


class ModelMismatch(Exception):
    """The bundle is not the model that the settings ask for."""


class PortTaken(Exception):
    """A port that a program should serve on is not to be had. The message names the setting."""
