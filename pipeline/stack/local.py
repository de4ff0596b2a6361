"""The local stack as one object: up, down, status, and the faults that tests inject."""

import shutil
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil

from pipeline.stack.errors import StackError
from pipeline.stack.jars import cached, fetch
from pipeline.stack.launch import Launcher, OnProgress, Step, await_answers, check_room
from pipeline.stack.layout import FILE as LAYOUT_FILE
from pipeline.stack.layout import Layout, Wish, check_running, plan, read_layout, to_json
from pipeline.stack.processes import ServerProcess, end, find, interrupts_held, wait_stopped
from pipeline.stack.servers import ELASTICSEARCH, Server, servers_of
from pipeline.stack.state import FILE, StackAddresses, only_one, read_state, replace_text, write_state
from pipeline.stack.status import ServerStatus, status_of
from pipeline.stack.tools import java

_GRACE_S = 15.0
_GRACE_AT_START_S = 4.0


def _ignore(_: Step) -> None:
    pass


class LocalStack:
    """Kafka (one or three nodes) and Elasticsearch with everything they write in one directory.

    Any number of these objects, in any process, can stand for the same directory: what runs is recorded there.

    Args:
        directory: Holds `stack.json`, `layout.json`, `jars/`, `logs/` and a folder for each server's data.
        brokers: 1 or 3; `None` is as the directory's data has it, else 1.
        kafka_port: The (first) broker's port; 0 is the last one used if free, else any.
        elasticsearch_port: Elasticsearch's HTTP port; 0 likewise.
        jars: A folder for the jars that several stacks share; `None` is `directory/jars`.
        bound_to: Pid of a process whose end also ends the servers, even by SIGKILL. Tests pass their own.
    """

    def __init__(
        self,
        directory: Path,
        brokers: int | None = None,
        kafka_port: int = 0,
        elasticsearch_port: int = 0,
        *,
        jars: Path | None = None,
        bound_to: int | None = None,
    ) -> None:
        self._directory = directory.resolve()
        self._wish = Wish(brokers, kafka_port, elasticsearch_port)
        self._jars = jars.resolve() if jars else self._directory / "jars"
        self._bound_to = bound_to

    @property
    def directory(self) -> Path:
        """Where everything is, absolute."""
        return self._directory

    def up(self, on_progress: OnProgress = _ignore) -> StackAddresses:
        """Starts what does not run yet and waits until every server answers.

        When it fails or is interrupted, it ends what it has started.

        Args:
            on_progress: Is told of each step, in the calling thread.

        Returns:
            Where the clients find it.

        Raises:
            StackError: It cannot be started; the message says why and what to do.
        """
        with self._exclusive():
            running = self._running()
            layout = self._lay_out(running)
            servers = servers_of(self._directory, layout)
            for name, process in running.items():
                on_progress(Step(name, "was there", f"was up on port {process.port}"))
            missing = [server for server in servers if server.name not in running]
            with self._starting(missing, layout, running, on_progress) as processes:
                await_answers(servers, processes, lambda server: server.sees_all(), on_progress)
            return StackAddresses(layout.bootstrap_servers, layout.elasticsearch_url)

    def down(self, *, wipe: bool = False) -> tuple[str, ...]:
        """Ends the recorded processes and forgets them.

        Args:
            wipe: Also removes data and logs; the jars stay.

        Returns:
            The names of the servers that were running.

        Raises:
            StackError: A process did not end, or another command is at work.
        """
        if not self._directory.exists():
            return ()
        with self._exclusive():
            running = self._running()
            end(tuple(running.values()), _GRACE_S)
            (self._directory / FILE).unlink(missing_ok=True)
            if wipe:
                self._wipe()
        return tuple(running)

    def status(self) -> tuple[ServerStatus, ...]:
        """Returns how each recorded server is; nothing when no stack is recorded."""
        state = read_state(self._directory)
        if state is None:
            return ()
        layout = self._recorded_layout()
        by_name = {server.name: server for server in servers_of(self._directory, layout)}
        return tuple(status_of(process, by_name[process.name]) for process in state.processes)

    def logs(self) -> dict[str, Path]:
        """Returns the servers' log files by name; they are there after `down` too."""
        return {file.stem: file for file in sorted((self._directory / "logs").glob("*.log"))}

    def kill(self, name: str, number: signal.Signals = signal.SIGKILL) -> None:
        """Ends a server with a signal and returns when it is gone.

        Raises:
            StackError: No such server runs, or it did not end.
        """
        process = self._process(name)
        process.send_signal(number)
        try:
            process.wait(timeout=_GRACE_S)
        except psutil.TimeoutExpired as error:
            raise StackError(f"{name} (pid {process.pid}) did not end after {number.name}: try SIGKILL") from error

    def pause(self, name: str) -> None:
        """Stops a server as a long garbage collection or a swapped-out machine would; returns when it stands.

        Raises:
            StackError: No such server runs.
        """
        process = self._process(name)
        process.suspend()
        wait_stopped(process)

    def resume(self, name: str) -> None:
        """Lets a paused server go on.

        Raises:
            StackError: No such server runs.
        """
        self._process(name).resume()

    def restart(self, name: str) -> None:
        """Ends a server if it runs, starts it on the same ports and data, and waits until it answers.

        Raises:
            StackError: There is no such server, or it does not start.
        """
        with self._exclusive():
            layout = self._recorded_layout()
            server = self._server(name, layout)
            others = self._running()
            if before := others.pop(name, None):
                end([before], _GRACE_S)
            with self._starting([server], layout, others, _ignore) as processes:
                await_answers([server], processes, lambda server: server.answers(), _ignore)

    @contextmanager
    def _starting(
        self,
        missing: Sequence[Server],
        layout: Layout,
        running: dict[str, ServerProcess],
        on_progress: OnProgress,
    ) -> Iterator[dict[str, ServerProcess]]:
        """Starts the missing servers and gives all processes; ends those it started if the block fails."""
        if not missing:
            yield running
            return
        launcher = self._launcher(on_progress)
        started: dict[str, ServerProcess] = {}
        try:
            for server in missing:
                on_progress(Step(server.name, "working", "starts"))
                with interrupts_held():
                    started[server.name] = launcher.start(server)
                    write_state(self._directory, layout, self._recorded(layout, running | started))
            yield running | started
        except BaseException:
            with interrupts_held():
                end(tuple(started.values()), _GRACE_AT_START_S)
                write_state(self._directory, layout, tuple(running.values()))
            raise

    def _launcher(self, on_progress: OnProgress) -> Launcher:
        check_room(self._directory)
        executable = java()
        jars = cached(self._jars)
        if jars is None:
            on_progress(Step("jars", "working", "Maven fetches Kafka and Elasticsearch (about 85 MB, once)"))
            jars = fetch(self._jars, executable)
            on_progress(Step("jars", "done", f"in {jars.folder}"))
        return Launcher(executable, jars, self._directory / "logs", self._bound_to)

    def _lay_out(self, running: dict[str, ServerProcess]) -> Layout:
        if running:
            layout = self._recorded_layout()
            check_running(self._wish, layout)
            return layout
        layout = plan(self._wish, read_layout(self._directory))
        replace_text(self._directory / LAYOUT_FILE, to_json(layout))
        return layout

    def _recorded_layout(self) -> Layout:
        layout = read_layout(self._directory)
        if layout is None:
            raise StackError(f"{self._directory} has no stack: start one with `trimodal stack up`")
        return layout

    def _recorded(self, layout: Layout, alive: dict[str, ServerProcess]) -> tuple[ServerProcess, ...]:
        """Adds the records of servers that were killed on purpose, so that status shows them as down."""
        state = read_state(self._directory)
        known = {process.name: process for process in state.processes} if state else {}
        known |= alive
        names = [server.name for server in servers_of(self._directory, layout)]
        return tuple(known[name] for name in names if name in known)

    def _running(self) -> dict[str, ServerProcess]:
        state = read_state(self._directory)
        processes = state.processes if state else ()
        return {process.name: process for process in processes if find(process)}

    def _process(self, name: str) -> psutil.Process:
        server = self._running().get(name)
        process = find(server) if server else None
        if process is None:
            raise StackError(f"no server {name} runs in {self._directory}: `trimodal stack status` shows what does")
        return process

    def _server(self, name: str, layout: Layout) -> Server:
        servers = {server.name: server for server in servers_of(self._directory, layout)}
        if name not in servers:
            raise StackError(f"there is no server {name}: this stack has {', '.join(servers)}")
        return servers[name]

    def _wipe(self) -> None:
        for folder in [
            *self._directory.glob("kafka-[1-3]"),
            self._directory / ELASTICSEARCH,
            self._directory / "logs",
        ]:
            if folder.exists():
                shutil.rmtree(folder)
        (self._directory / LAYOUT_FILE).unlink(missing_ok=True)

    @contextmanager
    def _exclusive(self) -> Iterator[None]:
        if forbidden := set(str(self._directory) + str(self._jars)) & set(",:\n"):
            raise StackError(
                f"{self._directory} has {sorted(forbidden)} in it, which Kafka and Java take as separators: "
                "choose another --dir"
            )
        try:
            with only_one(self._directory / "stack.lock", wait=False):
                yield
        except OSError as error:
            raise StackError(f"the stack in {self._directory} failed: {error}") from error
