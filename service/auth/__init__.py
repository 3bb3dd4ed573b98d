"""API keys, and the login of the page."""
