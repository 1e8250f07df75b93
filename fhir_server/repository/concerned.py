"""Whom it concerns that somebody asked for a resource in vain. For the trail alone: the caller is never told.

Spec: http://hl7.org/fhir/R4/security.html (the audit of what was refused)
"""

from collections.abc import Iterable, Mapping, Sequence

from fhir_server.access.listings import SOLE
from fhir_server.audit.touched import Touched
from fhir_server.repository.authorising import POLICY_INDEX, is_content
from fhir_server.repository.sight import Sight
from fhir_server.repository.touching import touch_contents
from fhir_server.storage.store import Document

Asked = tuple[str, str]
"""What was to be done (the policy's word) to which resource (``Type/id``)."""


def find_concerned(sight: Sight, asked: Sequence[Asked]) -> list[Touched]:
    """Return what was asked for, with the patients to be told of it and its labels. One round trip, two for content.

    They are told though the caller may not see it; but holders themselves not of a list that tells them nothing,
    which has no label to keep that from them. A Patient that is not there is told all the same.
    """
    authority = sight.authority
    known = authority.store.get_many({one for _, one in asked}, with_body=False, index_fields=POLICY_INDEX)
    contents = [one for one in known.values() if is_content(one)]
    touched = [_touched(sight, action, reference, known) for action, reference in asked]
    return touch_contents(touched, contents, authority) if contents else touched


def find_unseen(sight: Sight, references: Iterable[str]) -> list[str]:
    """Return those of the references under which there is nothing that the caller may know of."""
    wanted = list(dict.fromkeys(references))
    known = sight.authority.store.get_many(wanted, with_body=False, index_fields=POLICY_INDEX)
    seen = sight.visible(known)
    return [one for one in wanted if one not in seen]


def _touched(sight: Sight, action: str, reference: str, known: Mapping[str, Document]) -> Touched:
    kind = reference.partition("/")[0]
    patients: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    document = known.get(reference)
    if document is not None:
        patients = tuple(one for one in document.index.get("c", ()) if one.startswith("Patient/"))
        labels = tuple(document.index.get("l", ()))
        if kind in SOLE and sight.authority.policy.caller.patient is not None:
            patients = patients if sight.visible({reference: document}) else ()
    if not patients and kind == "Patient":
        patients = (reference,)
    return Touched(action, reference, 0, patients, labels)
