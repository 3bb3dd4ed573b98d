"""Tables of recordings, requests, models, data sets and machines as people have them: one row is one case."""
