"""What keeps a program from starting."""


class ModelMismatch(Exception):
    """The bundle is not the model that the settings ask for."""
