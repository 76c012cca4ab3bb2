"""What a client is told when it gets no answer: a status and one line."""

from typing import Any

from fastapi.responses import JSONResponse

_KINDS = {401: "authentication_error", 404: "not_found_error", 429: "rate_limit_error"}


class RefusedError(Exception):
    """A request that is not answered, and why. The line says what was given and what would do."""

    def __init__(self, status: int, message: str, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.retry_after = retry_after

    def response(self) -> JSONResponse:
        """The refusal as it goes over the wire."""
        headers = {} if self.retry_after is None else {"retry-after": str(self.retry_after)}
        if self.status == 401:
            headers["www-authenticate"] = "Bearer"
        return JSONResponse(body(self.status, self.message), self.status, headers)


def body(status: int, message: str) -> dict[str, Any]:
    """An error in the form that OpenAI's clients read, on every path alike. The message has one line."""
    kind = "server_error" if status >= 500 else _KINDS.get(status, "invalid_request_error")
    return {"error": {"message": " ".join(message.split())[:500], "type": kind, "code": status}}
