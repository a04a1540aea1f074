"""The service as an application of Ray Serve: `serve run deploy/ray/serve.yaml`. Needs the extra `ray`.

Ray Serve runs copies of the application of `hourglass serve` as replicas behind its own HTTP proxy. The engine joins
requests into batches, not `serve.batch`. Nothing else imports this module.
"""

import os
from typing import Any

import ray
from pydantic import BaseModel, ConfigDict
from ray import serve
from starlette.types import ASGIApp, Receive, Scope, Send

from service.config import Settings
from service.runtime.allocator import limit_fragmentation
from service.server.run import build_app
from service.state import State
from service.telemetry.logs import configure_logging


class Arguments(BaseModel):
    """The `args` of the application in the configuration of Ray Serve.

    `settings` are settings of the service, named as in `hourglass serve --help` without dashes at the front and with
    underscores: `models_dir`, `default_denoise`. They take precedence over the variables `HOURGLASS_*`.
    """

    model_config = ConfigDict(extra="forbid")

    settings: dict[str, str | int | float | bool] = {}


class ReplicaApp:
    """An ASGI application that hands the state of its lifespan to every request.

    Servers do this by the ASGI specification, but Ray Serve does not.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self.state: dict[str, Any] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app({**scope, "state": self.state}, receive, send)
        else:
            await self._app({**scope, "state": dict(self.state)}, receive, send)


def replica_settings(values: dict[str, Any], cpus: float) -> Settings:
    """Return the settings of a replica to which Ray has assigned a number of CPUs, which may be a fraction.

    Ray does not confine a replica to its CPUs, so the threads of a model run are limited to them unless
    `intra_op_threads` is set. Raises ValueError, which names the settings that are invalid.
    """
    settings = Settings.from_env(os.environ, values)
    if "intra_op_threads" in settings.model_fields_set or not cpus:
        return settings
    return settings.model_copy(update={"intra_op_threads": max(1, int(cpus))})


def create_replica(values: dict[str, Any]) -> ReplicaApp:
    """Create the application in the process of a replica."""
    limit_fragmentation()
    cpus: float = ray.get_runtime_context().get_assigned_resources().get("CPU", 0)
    settings = replica_settings(values, cpus)
    configure_logging(settings.log_format, settings.log_level)
    return ReplicaApp(build_app(settings))


def build(arguments: Arguments) -> Any:
    """Build the application of Ray Serve. Its replicas and resources are options of the deployment `Hourglass`.

    Raises ValueError if a setting is unknown or invalid, before a replica starts.
    """
    Settings.from_env(os.environ, arguments.settings)
    values = dict(arguments.settings)

    def create() -> ASGIApp:
        return create_replica(values)

    @serve.deployment(name="Hourglass")
    @serve.ingress(create)
    class Hourglass:
        """A replica: the application, and the health check that Ray Serve calls."""

        def check_health(self) -> None:
            """Raise RuntimeError if a model run hangs, so that Ray Serve replaces the replica."""
            app: ReplicaApp = self.app  # type: ignore[attr-defined] # of the class that serve.ingress derives
            state: State | None = app.state.get("service")
            if state and state.watchdog and state.watchdog.failure:
                raise RuntimeError(state.watchdog.failure)

    return Hourglass.bind()
