"""Content-addressed blobs and the table of records; knows bytes and hashes only."""
