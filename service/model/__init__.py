"""The contract between training and serving: the files of a model repo, how each is written, read and explained."""
