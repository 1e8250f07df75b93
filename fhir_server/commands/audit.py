"""``fhir-server audit``: verify that nobody has touched the trail."""

from datetime import date

from rich.console import Console

from fhir_server.audit.verification import MEANINGS, Finding, Tally, verify
from fhir_server.commands.database import shared_composition
from fhir_server.commands.terminal import CommandFailed, in_terminal_language
from fhir_server.errors import Text
from fhir_server.settings import Settings
from fhir_server.worker import audit_heads

_LISTED = 1_000


def verify_audit(settings: Settings, day: date | None, console: Console) -> None:
    """Print what was looked at; raises ``CommandFailed`` that names all that is not as it was written."""
    tally = Tally()
    with shared_composition(settings) as composition:
        log = composition.store().audit_log
        findings = list(verify(log, audit_heads(settings), settings.base_url, day, tally))
    console.print(in_terminal_language(_summary(tally)))
    if findings:
        raise CommandFailed(_report(findings))


def _summary(tally: Tally) -> Text:
    return Text(
        f"{tally.seals:,} seals over {tally.events:,} events verified, {tally.pending:,} events not sealed yet.",
        f"{tally.seals:,} sceaux sur {tally.events:,} événements vérifiés, {tally.pending:,} pas encore scellés.",
    )


def _report(findings: list[Finding]) -> Text:
    shown = findings[:_LISTED]
    english = "\n".join(f"- {one.what} {MEANINGS[one.problem].en}" for one in shown)
    french = "\n".join(f"- {one.what} {MEANINGS[one.problem].fr}" for one in shown)
    count = len(findings)
    return Text(
        f"The audit has been tampered with ({count:,} findings):\n{english}",
        f"L’audit a été altéré ({count:,} constats) :\n{french}",
    )
