"""How commands list things: a table with headings in the language of the terminal."""

from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.table import Table

from fhir_server.commands.terminal import in_terminal_language
from fhir_server.errors import Text


def print_table(console: Console, headings: Sequence[Text], rows: Iterable[Sequence[str]]) -> None:
    """Print the rows below their headings; a cell without text is a dash, a long one goes on below."""
    table = Table(box=None, pad_edge=False)
    for heading in headings:
        table.add_column(in_terminal_language(heading), overflow="fold")
    for row in rows:
        table.add_row(*(cell or "-" for cell in row))
    console.print(table)
