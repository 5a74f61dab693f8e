"""What the workers of a box share: the segment, counters, flush, replay and upkeep."""
