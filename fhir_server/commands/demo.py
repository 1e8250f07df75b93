"""The demo record: one fictitious French patient, so that a new server has something to show.

Everyone in it is invented; the identifiers lie in the namespaces that France reserves for tests.
"""

from importlib.resources import files

from fhir_server.app import Composition
from fhir_server.commands.terminal import CommandFailed
from fhir_server.errors import FhirError, Text
from fhir_server.fhir.json import parse_resource
from fhir_server.interactions.dispatch import dispatch
from fhir_server.interactions.request import FhirRequest
from fhir_server.smart.clients import Client

PATIENT = "Patient/p-279035121518989"
_APP_SCOPE = "openid fhirUser profile launch launch/patient offline_access online_access patient/*.cruds user/*.cruds"
DEMO_CLIENTS = (
    Client("demo-app", "Demo app", "public", "none", _APP_SCOPE, redirect_uris=("http://127.0.0.1/callback",)),
    # Without a key nobody can prove to be it: its tokens come from the command line of this machine alone.
    Client(
        "demo-backend",
        "Demo hospital",
        "backend",
        "private_key_jwt",
        "system/*.cruds",
        jwks={"keys": []},
        roles=("trusted",),
    ),
)


def load_demo(composition: Composition, language: str) -> bool:
    """Write the demo record unless its patient is there, whatever became of it; return whether it was written.

    With it come an app and a backend for tokens of the command line.
    """
    for client in DEMO_CLIENTS:
        composition.smart().clients.add(client)
    if composition.store().get(PATIENT) is not None:
        return False
    bundle = parse_resource(files("fhir_server.commands").joinpath("demo.json").read_bytes())
    ctx = composition.open_local_context("demo", language)
    try:
        dispatch(ctx, FhirRequest("POST", (), resource=bundle, prefer_return="minimal"))
    except FhirError as error:
        details = "; ".join(issue.text.in_language(language) for issue in error.issues)
        raise CommandFailed(
            Text(
                f"The demo record could not be written: {details}",
                f"Le dossier de démonstration a été refusé : {details}",
            )
        ) from error
    return True
