"""Takes the pictures of the live page in docs/pictures, of real digits going through: `python -m tests.pictures`."""

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from subprocess import PIPE
from typing import Any

from PIL import Image
from playwright.sync_api import Browser, Page, expect
from playwright.sync_api import TimeoutError as NotInTime

from pipeline.stack import LocalStack, StackAddresses
from tests.support.browser import chromium
from tests.support.stack import JARS

PICTURES = Path(__file__).resolve().parents[1] / "docs" / "pictures"
QUERY = "label:3 AND confidence:>0.9"
LAPTOP: dict[str, Any] = {"viewport": {"width": 1360, "height": 1170}}
PHONE: dict[str, Any] = {
    "viewport": {"width": 390, "height": 860}, "device_scale_factor": 2, "is_mobile": True, "has_touch": True,
}  # fmt: skip
COLOURS = 256
TO_TOP = "scrollTo(0, 0)"
SHOTS = {"light": (LAPTOP, "light"), "dark": (LAPTOP, "dark"), "phone": (PHONE, "light")}
REPLAY = ["--count", "6000", "--rate", "60", "--missing", "0.06", "--duplicates", "0.02", "--garbage", "60"]


def main() -> None:
    """Starts a stack, a replica, an indexer, the board and a replay; takes the pictures; ends all of it."""
    PICTURES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        stack = LocalStack(Path(folder), jars=JARS, bound_to=os.getpid())
        try:
            with _programs(_environment(stack.up()), Path(folder)) as address, chromium() as browser:
                for name, (device, scheme) in SHOTS.items():
                    _take(browser, address, PICTURES / f"{name}.png", device, scheme)
        finally:
            stack.down(wipe=True)


def _environment(addresses: StackAddresses) -> dict[str, str]:
    return {
        **os.environ,
        "TRIMODAL_KAFKA__BOOTSTRAP_SERVERS": addresses.bootstrap_servers,
        "TRIMODAL_ELASTICSEARCH__URL": addresses.elasticsearch_url,
        "TRIMODAL_JOIN__WINDOW_MS": "4000",
        "TRIMODAL_JOIN__OUT_OF_ORDER_MS": "1000",
        "TRIMODAL_SERVING__WORKERS": "1",
    }


@contextmanager
def _programs(environment: dict[str, str], folder: Path) -> Iterator[str]:
    """Runs the programs; gives the board's address."""
    start = [sys.executable, "-m", "pipeline.cli"]
    subprocess.run([*start, "topics", "create"], env=environment, check=True, stdout=subprocess.DEVNULL)
    running = []
    try:
        with (folder / "programs.log").open("w") as log:
            board = subprocess.Popen([*start, "run", "board", "--port", "0"], env=environment, stdout=PIPE, stderr=log)
            running.append(board)
            running += [
                subprocess.Popen([*start, *command], env=environment, stdout=log, stderr=log)
                for command in (["run", "fusion"], ["run", "indexer"], ["produce", "digits", *REPLAY])
            ]
        assert board.stdout is not None
        yield board.stdout.readline().decode().split()[-1]
    finally:
        for program in running:
            program.terminate()
        for program in running:
            program.wait()


def _take(browser: Browser, address: str, file: Path, device: dict[str, Any], scheme: Any) -> None:
    page = browser.new_page(color_scheme=scheme, **device)
    try:
        _settle(page, address)
        page.evaluate(TO_TOP)
        page.screenshot(path=file)
        Image.open(file).convert("RGB").quantize(COLOURS, kmeans=2, dither=Image.Dither.NONE).save(file, optimize=True)
    finally:
        page.close()


def _settle(page: Page, address: str) -> None:
    """Waits until a lively page can be seen: all three inputs in the answer, every row filled, letters, a search."""
    page.goto(address)
    page.wait_for_selector("#recent li:last-child button", timeout=90_000)
    page.wait_for_selector("#dead li:nth-child(5)", timeout=90_000)
    expect(page.locator("#rate-more")).to_have_text(re.compile(r"^([3-9]|\d\d),"), timeout=100_000)
    page.fill("#query", QUERY)
    for _ in range(60):
        page.press("#query", "Enter")
        with suppress(NotInTime):
            page.wait_for_selector("#found tbody tr:nth-child(12)", timeout=1_000)
            break
    page.wait_for_selector("#answer:not(:has(.missing)) .badge", timeout=30_000)


if __name__ == "__main__":
    main()
