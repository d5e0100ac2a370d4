"""The database: engine and transactions, bulk statements, sequences, partitions, migrations, and every table.

SQLite and PostgreSQL behind one set of tables; both are tested. The only packages that import SQLAlchemy besides
this one are those that own rows: `records`, `identity` and `audit`.
"""
