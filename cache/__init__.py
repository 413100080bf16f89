"""The response cache: what a provider has answered once answers the same question again.

It stores what came from a provider, and knows neither requests nor the server; `proxy/` asks it.
"""
