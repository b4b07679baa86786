"""What `elfw prepare` does alike for annotations and releases: the folder it works in, and what it tells."""
