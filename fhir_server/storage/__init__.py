"""Where resources are kept: MongoDB, and nothing above this package knows it.

Owns: collections, indexes, transactions, the embedded mongod, large content in GridFS. Does not own: who may read
or write (repository, access), what the index fields mean (search). Reads and writes: the database.
Spec: none; the contract is ``store.Store``.
"""
