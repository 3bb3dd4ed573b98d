"""Classifies one recording: admission, the windows that are heard, and the answer made of them."""
