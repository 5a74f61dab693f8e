"""What the check adds to a request, measured in one process, call by call, against no check."""
