"""What a producer says no to, before anything is published."""


class InvalidInput(Exception):
    """Something cannot become an event. The message says which file or value, what is wrong and what to do."""
