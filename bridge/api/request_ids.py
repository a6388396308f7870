"""The ids of a request: one of the bridge, and the client's own, if it sent a valid one.

Names and meaning are those of Azure's REST guidelines: an answer has `x-ms-request-id`, and returns the
`x-ms-client-request-id` of its request.
"""

import re
from dataclasses import dataclass

import azure.functions as func

#: The header with the bridge's id of a request.
REQUEST_ID = "x-ms-request-id"

#: The header with the client's id of a request.
CLIENT_REQUEST_ID = "x-ms-client-request-id"

#: The form of a client's id: visible ASCII characters. So an id cannot add a header, a line or a column.
CLIENT_ID = re.compile(r"[!-~]{1,128}", re.ASCII)


@dataclass(frozen=True, slots=True)
class RequestIds:
    """The ids of one request."""

    own: str
    #: The client's id, or None if it sent none or an invalid one.
    of_client: str | None

    @classmethod
    def of(cls, request: func.HttpRequest, own: str) -> "RequestIds":
        """Read the client's id. An invalid id counts as missing, since it never makes a request fail."""
        given = request.headers.get(CLIENT_REQUEST_ID, "")
        return cls(own, given if CLIENT_ID.fullmatch(given) else None)

    @property
    def fields(self) -> dict[str, str]:
        """The fields of log lines."""
        return {"request_id": self.own} | ({} if self.of_client is None else {"client_request_id": self.of_client})

    def mark(self, response: func.HttpResponse) -> func.HttpResponse:
        """Add the headers to an answer, and return it."""
        response.headers[REQUEST_ID] = self.own
        if self.of_client is not None:
            response.headers[CLIENT_REQUEST_ID] = self.of_client
        return response
