"""Errors that a caller may handle: each is a sentence with what was found, what was expected and what to do."""


class RatchetError(Exception):
    """Something a person can act on; `hint` says how, `status` is the HTTP status that fits."""

    status = 400
    type = "bad_request"

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class NotFound(RatchetError):
    """The thing that was named does not exist, or is not the caller's to see."""

    status = 404
    type = "not_found"


class Conflict(RatchetError):
    """The thing exists but is in a state that does not allow this."""

    status = 409
    type = "conflict"


class Invalid(RatchetError):
    """The input cannot be used as it is."""

    status = 422
    type = "invalid"


class TooLarge(RatchetError):
    """The input is over a stated limit."""

    status = 413
    type = "too_large"


class NotSignedIn(RatchetError):
    """No valid key or session came with the request."""

    status = 401
    type = "not_signed_in"


class NotAllowed(RatchetError):
    """The caller's role or scope is too small for this."""

    status = 403
    type = "not_allowed"


class Busy(RatchetError):
    """A limit on concurrent work is reached; try again after `retry_after` seconds."""

    status = 429
    type = "busy"
    retry_after = 1


class Unavailable(RatchetError):
    """A part that is needed is not running."""

    status = 503
    type = "unavailable"


class NotLoaded(Unavailable):
    """An adapter version is not loaded, or not any more: what serves may have changed since it was chosen."""


class LostLease(RatchetError):
    """The step was taken over by another worker; whatever this one did must be dropped."""

    status = 409
    type = "lost_lease"


class BrokenAdapter(RatchetError):
    """An adapter folder is incomplete, altered, or made for another base model."""

    status = 422
    type = "broken_adapter"


class OtherBase(BrokenAdapter):
    """An adapter folder is whole, but made for another base model than the one that serves."""


class DatabaseProblem(RatchetError):
    """The database is locked, newer than the program, or cannot be opened."""

    status = 503
    type = "database"


class NoRoom(Unavailable):
    """The memory budget does not hold this; what is loaded goes on."""
