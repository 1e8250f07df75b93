"""``fhir-server serve``: database, workers and their end, in the right order.

The process that the operator starts keeps the database and watches the workers; it answers no request itself.
"""

import ctypes
import multiprocessing
import os
import shutil
import signal
import socket
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import click
from granian.constants import HTTPModes, Interfaces
from granian.log import LogLevels
from granian.server import Server

from fhir_server.app import Composition, create_app
from fhir_server.commands.database import running_database
from fhir_server.commands.demo import load_demo
from fhir_server.commands.demo_people import is_local
from fhir_server.commands.publish import publish_definitions
from fhir_server.commands.terminal import CommandFailed, terminal_language
from fhir_server.errors import Text
from fhir_server.rest.memory import settle
from fhir_server.rest.metrics import DIRECTORY
from fhir_server.settings import Settings
from fhir_server.worker import AuditKeeper, Worker

_OPEN = Text(
    "*** OPEN: FHIR_SERVER_AUTH=open lets everybody on this machine read and change every record. ***",
    "*** OUVERT : FHIR_SERVER_AUTH=open laisse toute personne de cette machine lire et modifier tous les dossiers. ***",
)
_READY_SECONDS = 60.0
_PR_SET_PDEATHSIG = 1
_LOGGING: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"json": {"()": "fhir_server.rest.logs.JsonHandler"}},
    "loggers": {"_granian": {"handlers": ["json"], "level": "ERROR", "propagate": False}},
}


def serve(settings: Settings, *, demo: bool) -> None:
    """Serve until SIGINT or SIGTERM; running requests are finished, then the database is stopped.

    Raises ``CommandFailed`` when the address is taken or there is no database.
    """
    settings = _with_free_port(_for_demo(settings) if demo else settings)
    with running_database(settings) as connected, _worker_environment():
        composition = Composition(connected)
        composition.store()
        publish_definitions(composition, terminal_language())
        if demo:
            load_demo(composition, terminal_language())
        composition.close()
        threading.Thread(target=_announce, args=(settings, connected, terminal_language()), daemon=True).start()
        with _jobs(connected):
            _run(connected)


def _for_demo(settings: Settings) -> Settings:
    """Return the settings that let the demo's people in by their password, where nobody else can reach the server."""
    if not is_local(settings):
        return settings
    return replace(settings, second_factor="optional", professional_passwords=True)


@contextmanager
def _jobs(settings: Settings) -> Iterator[None]:
    """Do background work in this process, which answers no request, for as long as the block lasts."""
    composition = Composition(settings)
    worker = Worker(composition)
    keeper = AuditKeeper(composition)
    threads = [
        threading.Thread(target=worker.run, name="jobs", daemon=True),
        threading.Thread(target=keeper.run, name="audit", daemon=True),
    ]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        worker.stop()
        keeper.stop()
        for thread in threads:
            thread.join(settings.shutdown_timeout)
        composition.close()


def _run(settings: Settings) -> None:
    # Workers start afresh: a fork would inherit the locks of the threads that watch over the database here.
    multiprocessing.set_start_method("spawn", force=True)
    server = Server(
        "fhir_server.app:create_app",
        address=settings.host,
        port=settings.port,
        interface=Interfaces.WSGI,
        workers=settings.workers,
        blocking_threads=settings.threads,
        http=HTTPModes.http1,
        websockets=False,
        log_level=LogLevels.error,
        log_dictconfig=_LOGGING,
        respawn_failed_workers=True,
        workers_kill_timeout=max(1, int(settings.shutdown_timeout)),
    )
    server.serve(target_loader=partial(_start_worker, settings, os.getpid()), wrap_loader=False)


def _start_worker(settings: Settings, parent: int) -> Callable[..., Any]:
    """Return the application of a worker that ends when this process says so, or when this process is no more.

    Ctrl-C goes to every process of a group, and a worker that is told to stop twice never does: so each has its own.
    """
    os.setpgrp()
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM))
    if os.getppid() != parent:  # it was gone before it could be told of
        raise SystemExit(1)
    app = create_app(settings)
    settle()
    return app


def _with_free_port(settings: Settings) -> Settings:
    """Return the settings with a port that is free now; raises ``CommandFailed`` when the wished one is taken."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.host, settings.port))
        except OSError as error:
            raise CommandFailed(
                Text(
                    f"Cannot listen on {settings.host}, port {settings.port}: {error.strerror}.",
                    f"Impossible d’écouter sur {settings.host}, port {settings.port} : {error.strerror}.",
                )
            ) from None
        port = probe.getsockname()[1]
    if port == settings.port:
        return settings
    derived = settings.base_url.replace(f":{settings.port}/fhir", f":{port}/fhir")
    return replace(settings, port=port, base_url=derived)


@contextmanager
def _worker_environment() -> Iterator[None]:
    """Prepare the environment that workers inherit: a directory for common metrics, and an allocator that gives back.

    ``putenv`` because it is for the workers alone: here the metrics library has already chosen its kind of values.
    """
    directory = Path(tempfile.mkdtemp(prefix="fhir-server-metrics-"))
    os.putenv(DIRECTORY, str(directory))
    # One arena for each thread would keep the memory of the largest bundle that every single thread has met.
    os.putenv("MALLOC_ARENA_MAX", "2")
    try:
        yield
    finally:
        os.unsetenv(DIRECTORY)
        shutil.rmtree(directory, ignore_errors=True)


def _announce(settings: Settings, connected: Settings, language: str) -> None:
    """Say where everything is, once requests are answered."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)
    address = f"http://{f'[{host}]' if ':' in host else host}:{settings.port}"
    until = time.monotonic() + _READY_SECONDS
    while not _answers(f"{address}/health/ready"):
        if time.monotonic() > until:
            return
        time.sleep(0.05)
    embedded = settings.mongodb_uri is None
    data = str(settings.data_directory) if embedded else "FHIR_SERVER_MONGODB_URI"
    lines = Text(
        f"\nFHIR                 {settings.base_url}\n"
        f"CapabilityStatement  {settings.base_url}/metadata\n"
        f"Data                 {data}\n"
        f"Health, metrics      {address}/health/ready, {address}/metrics\n"
        f"{_access(settings, address).en}\nCtrl-C stops the server.\n",
        f"\nFHIR                 {settings.base_url}\n"
        f"CapabilityStatement  {settings.base_url}/metadata\n"
        f"Données              {data}\n"
        f"Santé, métriques     {address}/health/ready, {address}/metrics\n"
        f"{_access(settings, address).fr}\nCtrl-C arrête le serveur.\n",
    )
    click.echo(lines.in_language(language), err=True)


def _access(settings: Settings, address: str) -> Text:
    """Return the line that says who gets in."""
    if settings.auth == "open":
        return _OPEN
    where = f"{address}/.well-known/openid-configuration"
    return Text(f"Authorization        {where}", f"Autorisation         {where}")


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as response:
            return bool(response.status == 200)
    except OSError:
        return False
