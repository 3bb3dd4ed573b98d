"""What surrounds every request: plain ASGI middlewares, wired in `service.app`, outermost first."""
