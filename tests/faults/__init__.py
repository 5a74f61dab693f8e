"""The behaviour of the service during a fault, and after its repair."""
