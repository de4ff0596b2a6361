"""What keeps training from starting. Apart from the rest, so that saying it needs no PyTorch."""


class MissingMaterial(Exception):
    """The packages that training is made of are not there. The message says which and how to get them."""
