"""How commands list things: a table with headings in the language of the terminal."""

from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.table import Table

from fhir_server.commands.terminal import in_terminal_language
from fhir_server.errors import Text

_UNBOUNDED = 1_000_000


def print_table(console: Console, headings: Sequence[Text], rows: Iterable[Sequence[str]]) -> None:
    """Print the rows below their headings; a cell without text is a dash.

    In a terminal a long cell goes on below, but for the first one, by which the row is named to other commands: it
    stays whole however narrow the terminal is. Elsewhere every row is one line.
    """
    table = Table(box=None, pad_edge=False)
    for number, heading in enumerate(headings):
        table.add_column(in_terminal_language(heading), overflow="fold", no_wrap=number == 0)
    for row in rows:
        table.add_row(*(cell or "-" for cell in row))
    needed = console.measure(table, options=console.options.update(max_width=_UNBOUNDED))
    table.width = max(console.width, needed.minimum) if console.is_terminal else needed.maximum
    console.print(table, crop=False)
