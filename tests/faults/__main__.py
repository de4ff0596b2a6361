"""Prints the newest result of each scenario as a table for docs/guarantees.md: `python -m tests.faults`."""

import json
from typing import Any

from tests.faults.table import RESULTS


def _row(line: dict[str, Any]) -> str:
    name, faults = line["scenario"], line["faults"]
    what = faults[0]["what"].replace("|", "/") if faults else ""
    more = f", and {len(faults) - 1} more" if len(faults) > 1 else ""
    figures = f"{line['records']:,} | {len(faults)} | {line['lost']} | {line['doubled']} | {line['recovery_s']:.1f} s"
    return f"| {name} | {what}{more} | {figures} |"


def main() -> None:
    """Reads all results that are there."""
    print("| scenario | fault | records | faults | lost | doubled | recovery |")  # noqa: T201
    print("|---|---|---|---|---|---|---|")  # noqa: T201
    for file in sorted(RESULTS.glob("*.jsonl")):
        print(_row(json.loads(file.read_text().splitlines()[-1])))  # noqa: T201


if __name__ == "__main__":
    main()
