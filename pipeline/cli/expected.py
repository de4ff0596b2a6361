"""The errors that end a command with a sentence instead of a traceback."""

from consumers.board.errors import CannotServe
from consumers.errors import ModelMismatch
from pipeline.cli.demo.programs import ProgramFailed
from pipeline.digits.errors import MissingMaterial
from pipeline.events.errors import RecordError
from pipeline.join.offset_map import MapTooLarge, UnreadableMap
from pipeline.kafka.errors import KafkaFailure
from pipeline.model.errors import BrokenBundle, CompilationFailed, DeviceUnavailable, InferenceFailed
from pipeline.search.errors import SearchFailure
from pipeline.settings import SettingsError
from pipeline.stack.errors import StackError
from pipeline.telemetry.serving import PortTaken
from pipeline.telemetry.tracing import TracingUnavailable
from producers.errors import InvalidInput

EXPECTED = (
    BrokenBundle,
    CannotServe,
    CompilationFailed,
    DeviceUnavailable,
    InferenceFailed,
    InvalidInput,
    KafkaFailure,
    MapTooLarge,
    MissingMaterial,
    ModelMismatch,
    PortTaken,
    ProgramFailed,
    RecordError,
    SearchFailure,
    SettingsError,
    StackError,
    TracingUnavailable,
    UnreadableMap,
)
