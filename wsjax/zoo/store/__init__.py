"""Storage of zoos: records, transactional log, published shards, digests."""
