"""The names of endpoints' operations in OpenTelemetry's conventions."""

OPERATIONS = {
    "/v1/chat/completions": "chat",
    "/v1/responses": "chat",
    "/v1/completions": "text_completion",
    "/v1/embeddings": "embeddings",
}
"""By the endpoint's label: https://opentelemetry.io/docs/specs/semconv/registry/attributes/gen-ai/"""
