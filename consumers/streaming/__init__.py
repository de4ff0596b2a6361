"""The only place that imports Faust, and aiokafka under it."""
