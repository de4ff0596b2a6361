"""The model: what it takes in, the network, its bundle on disk, and the runtime that answers batches."""
