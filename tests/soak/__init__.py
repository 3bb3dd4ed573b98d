"""The service under more load than it can answer, while its decoders are killed and uploads are cut."""
