"""The API's resources, one file each: a signature, a docstring, one line.

To add one, say tickets: write its models in `models/ticket.py`, its calls and classes in `resources/tickets.py` beside
`customers.py` (checked calls at the top, then `Tickets`, `AsyncTickets` and their raw forms), give each client in
`_client.py` its `tickets`, and offer the models in `models/__init__.py` and `cstar/__init__.py`. CONTRIBUTING.md has
the code, and `tests/test_surface.py` finds it by itself.
"""
