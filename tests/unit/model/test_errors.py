import inspect

from pipeline.cli.expected import EXPECTED
from pipeline.model import errors


def test_every_error_of_a_model_ends_a_command_with_a_sentence() -> None:
    assert {error for _, error in inspect.getmembers(errors, inspect.isclass)} <= set(EXPECTED)
