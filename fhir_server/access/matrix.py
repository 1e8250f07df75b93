"""The habilitation matrix: which profession may see which kinds of documents and data; who is not in it sees nothing.

Order of 26 October 2023 (JO 29 October 2023). ``matrix.json`` is a seed of published facts, to be replaced by the
order's annex; every AuditEvent names the version that decided.
"""

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from fhir_server.search.ast import Everything, Node, Nothing, TokenIn
from fhir_server.search.building import build_not
from fhir_server.search.param_types.token import code_key


@dataclass(frozen=True, slots=True)
class Habilitation:
    """One profession's row: document types (``DocumentReference.type``) and resource types that it does not see."""

    profession: str
    emergency: bool
    hidden_documents: tuple[str, ...]
    hidden_resources: frozenset[str]

    def tree(self, resource_type: str) -> Node:
        """Return the tree of what of a type the profession may see."""
        virtual = _matrix()["virtual_document_types"].get(resource_type)
        if resource_type in self.hidden_resources or virtual in self.hidden_documents:
            return Nothing()
        if resource_type not in ("DocumentReference", "DocumentManifest", "Composition") or not self.hidden_documents:
            return Everything()
        return build_not(TokenIn(tuple(code_key(f"{resource_type}.type", code) for code in self.hidden_documents)))


def find_habilitation(profession: str) -> Habilitation | None:
    """Return the row of a profession (code of TRE_G15), None for one that the matrix does not know."""
    row = _matrix()["professions"].get(profession)
    if row is None:
        return None
    hidden = row["documents"]["hidden"], row["resources"]["hidden"]
    return Habilitation(profession, row["emergency"], tuple(hidden[0]), frozenset(hidden[1]))


def habilitations() -> list[Habilitation]:
    """Return every row."""
    return [row for profession in _matrix()["professions"] if (row := find_habilitation(profession)) is not None]


def matrix_version() -> str:
    """Return the version of the matrix in force."""
    return str(_matrix()["version"])


@cache
def _matrix() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(files("fhir_server.access").joinpath("matrix.json").read_text("utf-8"))
    return found
