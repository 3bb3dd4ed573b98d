"""The model folder that is pushed: artefact, model card, plots, int8 graph."""
