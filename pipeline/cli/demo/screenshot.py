"""A picture of the live page, taken with the Chromium or Chrome that this machine has."""

import shutil
import subprocess
import tempfile
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
MAC = Path("/Applications/Google Chrome.app/Contents/MacOS/Google Chrome")
WIDTH, HEIGHT = 1_360, 1_390
SETTLE_MS = 2_000
LIMIT_S = 30.0


class NoPicture(Exception):
    """There is no picture; the message says why."""


def find_chromium() -> str | None:
    """Returns a Chromium's path; None without one."""
    for name in NAMES:
        if found := shutil.which(name):
            return found
    return str(MAC) if MAC.exists() else None


def take(address: str, file: Path) -> None:
    """Writes a picture of a page to a PNG file. The page must come to rest, which a stream of events does not.

    Raises:
        NoPicture: there is no Chromium, or it fails.
    """
    executable = find_chromium()
    if executable is None:
        raise NoPicture("there is no Chromium on this machine (`apt install chromium`)")
    file.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory(prefix="trimodal-") as profile:
        command = [
            executable, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
            f"--user-data-dir={profile}", f"--window-size={WIDTH},{HEIGHT}", f"--virtual-time-budget={SETTLE_MS}",
            f"--screenshot={file}", address,
        ]  # fmt: skip
        try:
            subprocess.run(command, timeout=LIMIT_S, check=True, capture_output=True, stdin=subprocess.DEVNULL)
        except subprocess.TimeoutExpired as error:
            raise NoPicture(f"{executable} took longer than {LIMIT_S:.0f} s") from error
        except (OSError, subprocess.CalledProcessError) as error:
            raise NoPicture(f"{executable} failed: {error}") from error
    if not file.exists():
        raise NoPicture(f"{executable} wrote none")
