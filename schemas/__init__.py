"""The public contract: one Avro file a record type, and the loader that hands them out parsed.

`schemas/older` keeps every version that was once published, so that its records can still be read.
"""

from schemas.loader import Name, Schema, fingerprint, fingerprint_of, load, older, text

__all__ = ["Name", "Schema", "fingerprint", "fingerprint_of", "load", "older", "text"]
