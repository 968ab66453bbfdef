"""A trial of XLA, for `HubLayer(jit=True)`."""
