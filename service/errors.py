"""The errors of the service, in one tree. A leaf says what it is over HTTP; its message says what to do about it.

ServiceError
├── AudioError              the recording is at fault
│   ├── UndecodableAudio    400
│   ├── UnsupportedMedia    415
│   ├── AudioTooShort       422
│   └── SilentAudio         422
├── BadRequest              400
├── Unauthorized            401
├── ModelNotFound           404
├── PayloadTooLarge         413
├── UploadTimeout           408
├── AudioTooLong            413
├── InvalidParameter        422
├── NotReady
│   ├── ModelLoading        503
│   ├── Draining            503
│   └── TooManyConnections  503
├── ModelRefused            409
├── ModelUnavailable        502
├── Overloaded              429
├── StorageFull             507
├── DeadlineExceeded        504
├── ClientGone              499     for logs and metrics only
├── NonFiniteScores         500
└── InternalError           500
StartupError                no HTTP: the service cannot start until something is changed
"""

import os
from typing import ClassVar


class ServiceError(Exception):
    """A problem that the client is told about. `detail` is written for the person who sent the request."""

    status: ClassVar[int]
    type: ClassVar[str]
    title: ClassVar[str]

    def __init__(self, detail: str, *, retry_after_s: int | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.retry_after_s = retry_after_s


class AudioError(ServiceError):
    """The recording cannot be classified."""


class UndecodableAudio(AudioError):
    status = 400
    type = "undecodable-audio"
    title = "The audio cannot be decoded"


class UnsupportedMedia(AudioError):
    status = 415
    type = "unsupported-media"
    title = "This is not a supported audio file"


class AudioTooShort(AudioError):
    status = 422
    type = "audio-too-short"
    title = "The audio is too short"


class SilentAudio(AudioError):
    status = 422
    type = "silent-audio"
    title = "The audio is silent"


class BadRequest(ServiceError):
    status = 400
    type = "bad-request"
    title = "This is not HTTP"


class Unauthorized(ServiceError):
    status = 401
    type = "unauthorized"
    title = "An API key is needed"


class ModelNotFound(ServiceError):
    status = 404
    type = "model-not-found"
    title = "There is no such model"


class UploadTimeout(ServiceError):
    status = 408
    type = "upload-timeout"
    title = "The upload took too long"


class PayloadTooLarge(ServiceError):
    status = 413
    type = "payload-too-large"
    title = "The upload is too large"


class AudioTooLong(ServiceError):
    status = 413
    type = "audio-too-long"
    title = "The audio is too long"


class InvalidParameter(ServiceError):
    status = 422
    type = "invalid-parameter"
    title = "The request is not valid"


class NotReady(ServiceError):
    """The service cannot classify now, for a reason that passes."""

    status = 503


class ModelLoading(NotReady):
    type = "model-loading"
    title = "The model is still loading"


class Draining(NotReady):
    type = "draining"
    title = "The service is shutting down"

    def __init__(self) -> None:
        super().__init__("The service is shutting down. Send the request again; another instance will answer.")


class TooManyConnections(NotReady):
    type = "too-many-connections"
    title = "Too many connections"


class ModelRefused(ServiceError):
    """Another model shall answer, and did not prove itself."""

    status = 409
    type = "model-refused"
    title = "The other model cannot serve"


class ModelUnavailable(ServiceError):
    """The Hub does not deliver the model that shall answer."""

    status = 502
    type = "model-unavailable"
    title = "The model cannot be pulled"


class Overloaded(ServiceError):
    status = 429
    type = "overloaded"
    title = "The service is busy"


class StorageFull(ServiceError):
    status = 507
    type = "storage-full"
    title = "The service cannot store the upload"

    def __init__(self) -> None:
        super().__init__("The service has no room for the upload. Try again later, or with a smaller file.")


class DeadlineExceeded(ServiceError):
    status = 504
    type = "deadline-exceeded"
    title = "The answer took too long"


class ClientGone(ServiceError):
    status = 499
    type = "client-gone"
    title = "The client hung up"


class NonFiniteScores(ServiceError):
    """The model answered a window with NaN or infinity, as an overflow in half precision leaves."""

    status = 500
    type = "non-finite-scores"
    title = "The model gave no scores"

    def __init__(self) -> None:
        super().__init__("The model cannot compute this recording. Send it at a lower level, or as 16-bit audio.")


class InternalError(ServiceError):
    status = 500
    type = "internal-error"
    title = "The service failed"

    def __init__(self, detail: str = "The service failed on this request. It was logged under the request id.") -> None:
        super().__init__(detail)


FAULTS: tuple[type[ServiceError], ...] = (
    InternalError,
    NonFiniteScores,
    StorageFull,
    DeadlineExceeded,
    TooManyConnections,
)
"""What clients suffer through the service's fault and cannot mend; alerts ask for these. States that pass, such as
ModelLoading, are none: probes meet them as well."""


class StartupError(Exception):
    """The service cannot start. The message is one line: what is wrong and what to do about it."""


def error_location(error: BaseException | None) -> str:
    """The kind of an error and its place in the code; not its message, which may quote what a client sent."""
    traceback = error.__traceback__ if error else None
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    if traceback is None:
        return type(error).__name__
    return f"{type(error).__name__} at {os.path.basename(traceback.tb_frame.f_code.co_filename)}:{traceback.tb_lineno}"
