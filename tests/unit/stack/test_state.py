import json
from pathlib import Path

import pytest

from pipeline.stack.errors import StackError
from pipeline.stack.layout import Layout
from pipeline.stack.processes import ServerProcess
from pipeline.stack.state import StackAddresses, find_directory, only_one, read_addresses, read_state, write_state

LAYOUT = Layout("id", (9092, 9093, 9094), (1, 2, 3), 9200, 4)
PROCESS = ServerProcess("kafka-1", 42, 1.5, 9092, "/data", "/log")


def test_later_commands_find_the_settings_where_they_look(tmp_path: Path) -> None:
    write_state(tmp_path, LAYOUT, [PROCESS])

    assert json.loads((tmp_path / "stack.json").read_text())["settings"] == {
        "kafka": {"bootstrap_servers": "127.0.0.1:9092,127.0.0.1:9093,127.0.0.1:9094"},
        "elasticsearch": {"url": "http://127.0.0.1:9200"},
    }


def test_what_is_written_is_read(tmp_path: Path) -> None:
    write_state(tmp_path, LAYOUT, [PROCESS])

    state = read_state(tmp_path)

    assert state is not None
    assert state.processes == (PROCESS,)
    assert read_addresses(tmp_path) == state.addresses
    assert state.addresses == StackAddresses(LAYOUT.bootstrap_servers, LAYOUT.elasticsearch_url)


def test_no_processes_means_no_file(tmp_path: Path) -> None:
    write_state(tmp_path, LAYOUT, [PROCESS])
    write_state(tmp_path, LAYOUT, [])

    assert list(tmp_path.iterdir()) == []
    assert read_state(tmp_path) is None


@pytest.mark.parametrize("text", ["", "\xff", "{", "[]", '{"settings": {}}', '{"settings": null, "processes": []}'])
def test_a_damaged_file_is_an_error_that_names_it(tmp_path: Path, text: str) -> None:
    (tmp_path / "stack.json").write_text(text, encoding="latin-1")

    with pytest.raises(StackError, match=r"stack\.json is damaged"):
        read_state(tmp_path)


def test_a_stack_is_found_from_a_folder_below(tmp_path: Path) -> None:
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    assert find_directory(below) == below / ".local"

    (tmp_path / ".local").mkdir()
    write_state(tmp_path / ".local", LAYOUT, [PROCESS])

    assert find_directory(below) == tmp_path / ".local"


def test_a_second_command_is_refused_while_the_first_works(tmp_path: Path) -> None:
    with (
        only_one(tmp_path / "lock", wait=False),
        pytest.raises(StackError, match="another `trimodal` command"),
        only_one(tmp_path / "lock", wait=False),
    ):
        pytest.fail("two hold the lock")
    with only_one(tmp_path / "lock", wait=False):
        pass
