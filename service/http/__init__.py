"""The HTTP API: requests to arrays, arrays to responses, and the management endpoints."""
