import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.stack.errors import StackError
from pipeline.stack.layout import Layout, Wish, check_running, plan, read_layout, to_json
from pipeline.stack.ports import free_ports, is_free


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.socket() as server:
        server.bind(("127.0.0.1", free_ports(1)[0]))
        server.listen()
        yield int(server.getsockname()[1])


def all_ports(layout: Layout) -> list[int]:
    return [*layout.broker_ports, *layout.controller_ports, layout.elasticsearch_port, layout.transport_port]


@pytest.mark.parametrize("brokers", [1, 3])
def test_every_server_gets_a_free_port_of_its_own(brokers: int) -> None:
    ports = all_ports(plan(Wish(brokers), None))

    assert len(set(ports)) == 2 * brokers + 2
    assert all(is_free(port) for port in ports)


def test_random_ports_are_below_the_range_of_outgoing_connections() -> None:
    assert max(free_ports(50)) < 32_768


def test_three_brokers_take_the_wished_port_and_the_next_two() -> None:
    first = next(port for port in free_ports(50) if all(is_free(port + index) for index in range(3)))

    assert plan(Wish(3, kafka_port=first), None).broker_ports == (first, first + 1, first + 2)


def test_the_ports_of_the_last_time_are_taken_again() -> None:
    before = plan(Wish(), None)

    assert plan(Wish(), before) == before


def test_a_port_that_is_taken_meanwhile_is_replaced(taken_port: int) -> None:
    before = Layout("id", (taken_port,), free_ports(1), *free_ports(2))

    after = plan(Wish(), before)

    assert after.broker_ports != before.broker_ports
    assert after.controller_ports == before.controller_ports
    assert after.cluster_id == "id"


def test_a_wished_port_that_is_taken_is_an_error_with_the_option(taken_port: int) -> None:
    with pytest.raises(StackError, match=f"port {taken_port} for Kafka is taken .* --kafka-port"):
        plan(Wish(kafka_port=taken_port), None)
    with pytest.raises(StackError, match=f"port {taken_port} for Elasticsearch is taken .* --elasticsearch-port"):
        plan(Wish(elasticsearch_port=taken_port), None)


def test_one_port_for_both_servers_is_refused() -> None:
    (port,) = free_ports(1)

    with pytest.raises(StackError, match="both"):
        plan(Wish(kafka_port=port, elasticsearch_port=port), None)


@pytest.mark.parametrize("port", [-1, 65_536])
def test_a_number_that_is_no_port_is_refused(port: int) -> None:
    with pytest.raises(StackError, match=f"{port} is no port"):
        plan(Wish(elasticsearch_port=port), None)


def test_two_brokers_are_refused() -> None:
    with pytest.raises(StackError, match="1 or 3"):
        plan(Wish(brokers=2), None)


def test_the_number_of_brokers_belongs_to_the_data() -> None:
    three = plan(Wish(3), None)

    assert plan(Wish(), three).brokers == 3
    with pytest.raises(StackError, match=r"3 broker.* not 1.*--wipe"):
        plan(Wish(1), three)


def test_a_running_stack_refuses_another_port() -> None:
    layout = plan(Wish(), None)
    running = layout.broker_ports[0]

    check_running(Wish(1, running, layout.elasticsearch_port), layout)
    with pytest.raises(StackError, match=f"up on port {running}.*stack down"):
        check_running(Wish(kafka_port=running + 1), layout)


def test_cluster_ids_are_what_kafka_takes() -> None:
    ids = {plan(Wish(), None).cluster_id for _ in range(50)}

    assert len(ids) == 50
    assert all(len(text) == 22 and not text.startswith("-") for text in ids)


def test_a_layout_comes_back_from_its_file(tmp_path: Path) -> None:
    layout = plan(Wish(3), None)
    (tmp_path / "layout.json").write_text(to_json(layout))

    assert read_layout(tmp_path) == layout


def test_no_layout_is_none_and_a_damaged_one_an_error(tmp_path: Path) -> None:
    assert read_layout(tmp_path) is None
    (tmp_path / "layout.json").write_text('{"cluster_id": "x"')
    with pytest.raises(StackError, match=r"layout\.json is damaged.*--wipe"):
        read_layout(tmp_path)
