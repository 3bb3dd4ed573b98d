"""Plain ASGI middlewares around every request; `service.app` lists them, outermost first."""
