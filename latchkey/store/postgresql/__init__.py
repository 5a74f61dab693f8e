"""A store over PostgreSQL, with everything that is PostgreSQL's own."""
