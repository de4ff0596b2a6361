"""What one partition's predictions add to one of the shortest windows: the unit that is kept across restarts."""

import json
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Self

from consumers.windowing.tally import Group, Tally
from pipeline.events.records import Modality, Prediction

VERSION = 1


@dataclass(frozen=True, slots=True)
class Answer:
    """What is counted of a prediction that an amendment may still replace."""

    revision: int
    group: Group
    confidence: float
    latency_ms: float


class Part:
    """Tallies by group, and the answers that a missing input may still amend.

    Args:
        next_offset: all records below it have been counted where they belong here.
    """

    def __init__(self, next_offset: int = 0) -> None:
        self.next_offset = next_offset
        self._final: dict[Group, Tally] = {}
        self._amendable: dict[str, Answer] = {}

    def add(self, prediction: Prediction) -> tuple[Group, ...]:
        """Counts a moment by its newest revision and returns the groups that this has changed: none, one or two.

        An answer that saw all inputs is never amended, so it is counted and forgotten; others are remembered.
        """
        group = Group.of(prediction)
        before = self._amendable.get(prediction.prediction_id)
        if before is not None and before.revision >= prediction.revision:
            return ()
        if len(prediction.modalities) == len(Modality):
            self._amendable.pop(prediction.prediction_id, None)
            self._final.setdefault(group, Tally()).add(prediction.confidence, prediction.latency_ms)
        else:
            self._amendable[prediction.prediction_id] = Answer(
                prediction.revision, group, prediction.confidence, prediction.latency_ms
            )
        self.__dict__.pop("tallies", None)
        return (group,) if before is None or before.group == group else (before.group, group)

    @cached_property
    def tallies(self) -> dict[Group, Tally]:
        """All that has been counted, by group. Not to be changed."""
        tallies = self._final
        if self._amendable:
            tallies = {group: tally.copy() for group, tally in tallies.items()}
            for answer in self._amendable.values():
                tallies.setdefault(answer.group, Tally()).add(answer.confidence, answer.latency_ms)
        return tallies

    def to_bytes(self) -> bytes:
        """Returns it as it is kept: deflated JSON."""
        groups = {group: number for number, group in enumerate(self._groups())}
        fields = {
            "version": VERSION,
            "next_offset": self.next_offset,
            "groups": [group.to_fields() for group in groups],
            "final": [[groups[group], *tally.to_fields()] for group, tally in self._final.items()],
            "amendable": {
                moment: [answer.revision, groups[answer.group], answer.confidence, answer.latency_ms]
                for moment, answer in self._amendable.items()
            },
        }
        return zlib.compress(json.dumps(fields, separators=(",", ":")).encode(), 1)

    @classmethod
    def from_bytes(cls, kept: bytes) -> Self:
        """Returns what `to_bytes` was given."""
        fields = json.loads(zlib.decompress(kept))
        groups = [Group.from_fields(group) for group in fields["groups"]]
        part = cls(fields["next_offset"])
        part._final = {groups[number]: Tally.from_fields(tally) for number, *tally in fields["final"]}
        part._amendable = {
            moment: Answer(revision, groups[number], confidence, latency_ms)
            for moment, (revision, number, confidence, latency_ms) in fields["amendable"].items()
        }
        return part

    def _groups(self) -> Iterable[Group]:
        return dict.fromkeys([*self._final, *(answer.group for answer in self._amendable.values())])
