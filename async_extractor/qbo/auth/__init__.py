"""OAuth 2.0: access tokens, Intuit's token endpoint, the consent page."""
