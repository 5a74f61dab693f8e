"""What the tests are written with: servers, clients, fakes, faults."""
