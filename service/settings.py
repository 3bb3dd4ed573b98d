"""The settings of the service, each read from the environment variable of the same name in capitals."""

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

LogFormat = Literal["auto", "json", "text"]
LogLevel = Literal["DEBUG", "INFO", "WARNING", "ERROR"]

# Other programs' names of these levels.
_LEVELS = {"TRACE": "DEBUG", "NOTSET": "DEBUG", "WARN": "WARNING", "CRITICAL": "ERROR", "FATAL": "ERROR"}
# What Kubernetes writes into METRICS_PORT when a Service of the name "metrics" is in the namespace.
_SERVICE_LINK = re.compile(r"(?:tcp|udp|sctp)://")


def parse_list(text: str) -> list[str]:
    """The entries of a setting that holds several, separated by commas or line breaks, without blanks around them."""
    return [part.strip() for part in re.split(r"[,\r\n]", text) if part.strip()]


def is_service_link(value: object) -> bool:
    """Whether Kubernetes wrote the value: it names a Service of the cluster, and is no setting of ours."""
    return isinstance(value, str) and _SERVICE_LINK.match(value) is not None


class Settings(BaseSettings):
    """The settings of a process, from its environment. Only the modules that wire the service read them (pyproject.toml
    lists these); all others receive plain values. `huggingface_hub` itself reads HF_TOKEN, HF_HOME and HF_ENDPOINT."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", env_ignore_empty=True)

    model_id: Annotated[str, Field(min_length=1)]
    """Model repo on the Hugging Face Hub (`you/genre`), or a local folder that holds one."""

    model_revision: str = "main"
    """Branch, tag or commit of the model repo; a full commit hash pins it, and starts without the Hub once cached."""

    reload_interval_s: Annotated[float, Field(ge=0, le=86_400)] = 0
    """Seconds between two looks at the revision, whose new commits are swapped in while requests are answered; 0 for
    never."""

    startup_deadline_s: Annotated[float, Field(gt=0, le=86_400)] = 600
    """Seconds to keep trying while the Hub cannot be reached, before the service gives up and exits."""

    host: str = "127.0.0.1"
    """Address to listen on; 0.0.0.0 for all."""

    port: Annotated[int, Field(ge=0, le=65_535)] = 8000
    """Port to listen on."""

    root_path: Annotated[str, Field(pattern=r"^(/[\w.~-]+)*$")] = ""
    """Prefix under which a reverse proxy shows the service and which it strips, such as `/genre`."""

    page: bool = True
    """Whether people find a page at `/ui`; without it the service takes less memory."""

    metrics_port: Annotated[int | None, Field(ge=1, le=65_535)] = None
    """Port of its own for /metrics, which then leaves `port`; /livez and /readyz answer on both."""

    max_connections: Annotated[int, Field(ge=1, le=100_000)] = 512
    """Connections open at the same time; one more takes the place of an idle one, or is answered with 503."""

    keep_alive_s: Annotated[int, Field(ge=1, le=3_600)] = 75
    """Seconds that a connection stays open between two requests; more than the balancer in front keeps it."""

    api_keys: SecretStr = SecretStr("")
    """Keys, separated by commas or line breaks, of which clients must bring one; without any the service is open."""

    api_keys_file: Path | None = None
    """A file with keys, read again when it changes; those of `api_keys` count beside them."""

    admin_keys_file: Path | None = None
    """A file with keys for /admin/reload and /admin/rollback, which do not exist without it; read again when it
    changes."""

    cors_origins: str = ""
    """Origins, separated by commas, whose pages may call the API from a browser; `*` for all."""

    backend: Literal["auto", "openvino", "torch"] = "auto"
    """Backend that computes: OpenVINO on a CPU and torch on a GPU (auto), or always one of them."""

    cpu_threads: Annotated[int, Field(ge=0, le=1_024)] = 0
    """Threads for inference; 0 for as many as the process has cores, a container's CPU limit included."""

    decoders: Annotated[int, Field(ge=0, le=256)] = 0
    """Processes that decode uploads, of 50 MB each; 0 for one a core, at least 2 and at most 8."""

    max_batch: Annotated[int, Field(ge=0, le=1_024)] = 0
    """Windows computed together; 0 for what is best on the device: 1 on a CPU, 4 with 8 threads or more, 16 on a
    GPU."""

    max_batch_wait_ms: Annotated[float, Field(ge=0, le=10_000)] = 0
    """Milliseconds that a batch which is not full waits for more windows."""

    max_upload_mb: Annotated[float, Field(gt=0, le=4_096)] = 50
    """Largest request body in megabytes (10^6 bytes), the page's uploads included."""

    upload_timeout_s: Annotated[float, Field(gt=0, le=3_600)] = 120
    """Seconds within which the whole body of a request must have arrived; 408 then."""

    max_windows: Annotated[int, Field(ge=1, le=1_000)] = 3
    """Windows analysed of one recording, unless the request says otherwise; it may ask for at most this many."""

    max_analysed_s: Annotated[float, Field(gt=0, le=86_400)] = 3_600
    """Seconds of a recording that a timeline covers at most."""

    max_queue_s: Annotated[float, Field(gt=0)] = 1_800
    """Seconds of audio that may be admitted and not yet answered; beyond it requests are refused with 429."""

    request_deadline_s: Annotated[float, Field(gt=0, le=3_600)] = 60
    """Seconds after which an admitted request is answered with 504."""

    result_cache_mb: Annotated[float, Field(ge=0, le=4_096)] = 16
    """Megabytes (10^6 bytes) of answers kept in memory: the same recording with the same parameters again is answered
    from there; 0 keeps none."""

    drain_timeout_s: Annotated[int, Field(ge=0, le=3_600)] = 30
    """Seconds that running requests get to finish after SIGTERM."""

    log_level: LogLevel = "INFO"
    """Least level of the log lines on stderr: DEBUG, INFO, WARNING or ERROR, in capitals or not."""

    log_format: LogFormat = "auto"
    """Log lines as `text` for people or as `json`, an object a line; `auto` is text where stderr is a terminal."""

    @field_validator("*", mode="before")
    @classmethod
    def _strip(cls, value: object) -> object:
        return value.strip() if isinstance(value, str) else value

    @field_validator("log_level", mode="before")
    @classmethod
    def _spell_level(cls, level: object) -> object:
        return _LEVELS.get(level.upper(), level.upper()) if isinstance(level, str) else level

    @field_validator("log_format", "backend", mode="before")
    @classmethod
    def _spell_small(cls, choice: object) -> object:
        return choice.lower() if isinstance(choice, str) else choice

    @field_validator("metrics_port", mode="before")
    @classmethod
    def _ignore_service_link(cls, port: object) -> object:
        return None if is_service_link(port) else port

    @field_validator("metrics_port")
    @classmethod
    def _is_another_port(cls, metrics_port: int | None, info: ValidationInfo) -> int | None:
        if metrics_port is not None and metrics_port == info.data.get("port"):
            raise ValueError("it must differ from PORT")
        return metrics_port

    @property
    def max_upload_bytes(self) -> int:
        """`max_upload_mb` in bytes."""
        return round(self.max_upload_mb * 1_000_000)
