"""The gateway: a reverse proxy that puts requests in a line. `gateway_app.app:app`, or
`python -m gateway_app`.
"""
