"""The rules of a restore: what a restored database takes over from the one that was in use.

The statements are portable. They run on the restored database, in one transaction. The tables of
the other database, the *former* one, are beside its own under names such as ``former_credential``;
each kind of database provides them in its own way, with the columns of the current schema.
"""
