"""What can be wrong with a model. Apart from the rest, so that saying it needs no PyTorch."""


class BrokenBundle(Exception):
    """A bundle cannot be used. The message says which, what is wrong with it and what to do."""


class DeviceUnavailable(Exception):
    """The named device is not there, or is in a state that only a new process leaves."""


class InferenceFailed(Exception):
    """The model cannot answer this batch. The message is a sentence, for the dead letter of the culprit."""


class CompilationFailed(Exception):
    """`torch.compile` does not work on this machine. The message says why and what to do."""
