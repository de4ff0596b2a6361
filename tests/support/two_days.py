"""Two days of predictions in Elasticsearch, to be searched."""

from pipeline.events.records import Modality
from pipeline.search.bulk import Bulk, Indexed
from pipeline.search.documents import document
from pipeline.search.installation import install
from pipeline.stack import StackAddresses
from tests.support.indexing import Workplace
from tests.support.predictions import NOON_MS, a_prediction

HOUR_MS, DAY_MS = 3_600_000, 86_400_000
ALL_THREE = (Modality.SPEECH, Modality.IMAGE, Modality.SENSOR)
PREDICTIONS = [
    a_prediction(0, event_time_ms=NOON_MS, label="3", confidence=0.95, modalities=ALL_THREE),
    a_prediction(1, event_time_ms=NOON_MS + HOUR_MS, label="3", confidence=0.5),
    a_prediction(2, event_time_ms=NOON_MS + 2 * HOUR_MS, label="4", confidence=0.99),
    a_prediction(3, event_time_ms=NOON_MS + DAY_MS, label="hot dog", probabilities={"hot dog": 0.9, "a.b": 1e-5}),
]


def two_days(stack: StackAddresses) -> Workplace:
    """Indexes them under an alias that no other test uses."""
    place = Workplace.made(stack)
    elasticsearch = place.settings.elasticsearch
    install(place.client, elasticsearch)
    documents = [document(prediction, elasticsearch.alias) for prediction in PREDICTIONS]
    assert Bulk(place.client, elasticsearch.url).write(documents) == (Indexed(new=True),) * len(PREDICTIONS)
    place.search.refresh()
    return place
