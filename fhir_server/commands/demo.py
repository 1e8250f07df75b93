"""The demo records: a fictitious French patient and her child, so that a new server has something to show.

Everyone in it is invented; the identifiers lie in the namespaces that France reserves for tests.
"""

from importlib.resources import files

from fhir_server.app import Composition
from fhir_server.commands.demo_people import add_accounts, add_clients, is_local
from fhir_server.commands.terminal import CommandFailed
from fhir_server.errors import FhirError, Text
from fhir_server.fhir.json import parse_resource
from fhir_server.interactions.dispatch import dispatch
from fhir_server.interactions.request import FhirRequest

PATIENT = "Patient/p-279035121518989"


def load_demo(composition: Composition, language: str) -> bool:
    """Write the demo record unless its patient is there, whatever became of it; return whether it was written.

    With it come apps and backends for tokens of the command line and, where nobody else can reach the server, accounts.
    """
    if composition.settings.auth == "smart":
        add_clients(composition)
        if is_local(composition.settings):
            add_accounts(composition)
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
