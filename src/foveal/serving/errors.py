"""Refusals: a status and one line for a client that gets no answer."""

import re
from typing import Any

from fastapi.responses import JSONResponse

_KINDS = {401: "authentication_error", 404: "not_found_error", 429: "rate_limit_error"}
# A path from the root of this machine, two steps or more; not what stands in a URL or in a media type.
_PATH = re.compile(r"(?<![\w:/.])/(?:[^\s/'\"`]+/)+([^\s/'\"`]*)")


class RefusedError(Exception):
    """A request that is not answered, and why. The line says what was given and what would do."""

    def __init__(self, status: int, message: str, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.retry_after = retry_after

    def response(self, *, close: bool = False) -> JSONResponse:
        """Return the refusal as it goes over the wire.

        Args:
            close: The connection ends with it, because the rest of the request is not read.
        """
        headers = {} if self.retry_after is None else {"retry-after": str(self.retry_after)}
        if self.status == 401:
            headers["www-authenticate"] = "Bearer"
        if close:
            headers["connection"] = "close"
        return JSONResponse(body(self.status, self.message), self.status, headers)


def body(status: int, message: str) -> dict[str, Any]:
    """Return an error in the form that OpenAI's clients read, on every path alike.

    The message has one line. Of a file's path on this machine it keeps the name.
    """
    kind = "server_error" if status >= 500 else _KINDS.get(status, "invalid_request_error")
    line = _PATH.sub(r"\1", " ".join(message.split()))
    return {"error": {"message": line[:500], "type": kind, "code": status}}
