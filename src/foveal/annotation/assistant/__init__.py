"""Models that answer questions about pictures: the endpoint, its answers kept on disk, prompts."""
