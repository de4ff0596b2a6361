"""The live page in the demo: started, told of, opened where there is a display, and pictured at the end.

Nothing here may break the demo: what goes wrong becomes a sentence.
"""

import os
import sys
import webbrowser
from contextlib import suppress
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from pipeline.cli.demo import screenshot
from pipeline.cli.demo.programs import Program, Programs
from pipeline.settings import BoardSettings
from pipeline.stack.ports import HOST, free_ports, is_free

ANSWER_S = 5.0
_DISPLAYS = ("DISPLAY", "WAYLAND_DISPLAY")


def start(programs: Programs, board: BoardSettings) -> Program:
    """Starts the board at its usual port, or at another one if that is taken."""
    port = board.port if board.port and is_free(board.port) else free_ports(1)[0]
    arguments = ["run", "board", "--host", HOST, "--port", str(port)]
    return programs.start_once("board", arguments, address=f"http://{HOST}:{port}/", required=False)


def open_in_browser(board: Program) -> None:
    """Opens the page, if somebody sits in front of a display and the page answers."""
    has_display = sys.platform == "darwin" or any(os.environ.get(name) for name in _DISPLAYS)
    if has_display and sys.stdout.isatty() and not _trouble(board):
        with suppress(webbrowser.Error):
            webbrowser.open(board.address)


def picture(board: Program, file: Path) -> str:
    """Takes a picture of the page; returns a sentence that says where it is, or why there is none."""
    if trouble := _trouble(board):
        return f"No picture of the board: {trouble}."
    try:
        screenshot.take(f"{board.address}#still", file)
    except screenshot.NoPicture as error:
        return f"No picture of the board: {error}."
    return f"The board as it looked at the end: {file}"


def _trouble(board: Program) -> str:
    """Returns why the page is not to be seen; nothing if it is."""
    try:
        with urlopen(board.address, timeout=ANSWER_S):  # noqa: S310  (an http:// address of our own)
            return ""
    except (URLError, OSError) as error:
        return f"{board.address} does not answer ({error}): see {board.log}"
