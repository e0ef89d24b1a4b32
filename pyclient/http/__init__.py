"""HTTP as bytes, shared by the gateway and the worker: header rules, paths, envelopes, a client."""
