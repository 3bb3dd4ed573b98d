// The address of the service: that of the page without the page itself.
() => window.location.origin + window.location.pathname.replace(/\/ui\/?$/, '')
