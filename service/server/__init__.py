"""Processes and sockets: uvicorn, workers, connection limits and graceful shutdown."""
