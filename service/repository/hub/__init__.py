"""Models that are kept elsewhere: pulls versions from buckets, web servers and the Hugging Face Hub, and pushes them.

`obstore` is imported by `source` alone.
"""
