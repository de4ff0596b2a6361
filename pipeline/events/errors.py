"""What can be wrong with one record. Each becomes the dead letter that its `reason` names."""

from pipeline.events.records import Reason


class RecordError(Exception):
    """One record cannot be used. The message is a sentence: what is wrong with it and what to do."""

    reason: Reason


class Undecodable(RecordError):
    """The bytes are not Avro of a known schema."""

    reason = Reason.UNDECODABLE


class Invalid(RecordError):
    """The record decodes but is outside the contract: a rate, a size, a NaN, not a picture."""

    reason = Reason.INVALID


class TooLarge(RecordError):
    """The record is over a size limit."""

    reason = Reason.TOO_LARGE
