"""The rules of a restore: what a restored database takes over from the one that was in use.

The statements are portable. They run on the restored database, in one transaction. The database
that was in use is called the *former* one. Each kind of database makes its tables visible under
names such as ``former_credential``, with the columns of the current revision.
"""
