"""What can go wrong with the local stack. Every message says what happened and what to do."""


class StackError(Exception):
    """The local stack cannot do what was asked."""


class ToolMissing(StackError):
    """Java or Maven is not installed, or too old."""


class DownloadFailed(StackError):
    """Maven could not fetch the servers' jars."""
