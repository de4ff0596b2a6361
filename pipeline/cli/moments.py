"""Times as they are given on the command line."""

import re
from datetime import UTC, datetime, timedelta

import typer

HELP = "An age such as 15m, 2h or 7d, or ISO 8601 (UTC unless it has an offset)."
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_AGE = re.compile(r"(\d{1,6})([smhdw])")


def moment_ms(text: str, option: str, now: datetime) -> int:
    """Returns the milliseconds since the epoch that an option's text stands for.

    Raises:
        typer.BadParameter: it is neither an age nor a time.
    """
    if age := _AGE.fullmatch(text):
        moment = now - timedelta(**{_UNITS[age[2]]: int(age[1])})
    else:
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            raise typer.BadParameter(
                f"{text!r} is no time: give an age such as 15m, 2h or 7d, or ISO 8601 such as 2026-01-31T12:00.",
                param_hint=option,
            ) from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return (moment - datetime.fromtimestamp(0, UTC)) // timedelta(milliseconds=1)
