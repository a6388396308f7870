"""The description of the API (OpenAPI 3.1), made of what validates requests and of what the views answer.

Nothing imports it but the call that answers it, and that when it is called first: a cold start does not pay for it.
"""
