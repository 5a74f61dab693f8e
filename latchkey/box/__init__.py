"""State that the workers on a machine share: the segment, counters, flush, replay and upkeep."""
