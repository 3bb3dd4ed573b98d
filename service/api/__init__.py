"""The HTTP interface: the routes, and the recordings that requests hold."""
