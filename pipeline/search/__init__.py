"""Elasticsearch: the only place that imports its client, and where its errors become ours."""
