"""The model folder that is pushed: weights, graphs, golden clips, familiarity, model card, plots; and its release."""
