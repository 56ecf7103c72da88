"""The edge agent: reads a gateway's meters, keeps every reading on disk, and sends it until the collector has it."""
