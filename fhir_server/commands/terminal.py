"""How commands speak: in the language of the terminal, results to standard output, problems to standard error."""

import click

from fhir_server.errors import Text

LANGUAGE_VARIABLES = ["LC_ALL", "LC_MESSAGES", "LANG"]


def terminal_language() -> str:
    """Return ``fr`` or ``en``, as the option ``--language`` or else the locale says."""
    context = click.get_current_context(silent=True)
    locale = str(context.find_root().params.get("language") or "") if context is not None else ""
    return "fr" if locale.lower().startswith("fr") else "en"


def in_terminal_language(text: Text) -> str:
    """Return the text as the terminal's user reads it."""
    return text.in_language(terminal_language())


def say(text: Text) -> None:
    """Print a message."""
    click.echo(in_terminal_language(text))


class CommandFailed(click.ClickException):
    """Ends a command with a message and status 1."""

    def __init__(self, text: Text) -> None:
        super().__init__(in_terminal_language(text))
        # Shown after the command's context, and with it the language, is gone.
        self._word = in_terminal_language(Text("Error", "Erreur"))

    def show(self, file: object = None) -> None:
        """Print the message."""
        click.echo(f"{self._word}: {self.message}", err=True)
