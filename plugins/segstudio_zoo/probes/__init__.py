"""What can be looked at inside a paper's network, one file a paper; each knows its own network only."""
