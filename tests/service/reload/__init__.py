"""Models that are swapped under load, against the stand-in for the Hub."""
