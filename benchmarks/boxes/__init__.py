"""Several boxes on PostgreSQL: a miss, a hit, and how long a revocation takes."""
