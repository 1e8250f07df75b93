"""The policy as such: closed by default, closed by an error, and never wider than its parts."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_server.access import policy as module
from fhir_server.access.caller import LOCAL_CALLER, OPEN_CALLER, Caller
from fhir_server.access.decision import Decision, Delta
from fhir_server.access.facts import Facts, RecordFacts
from fhir_server.access.labels import MASKED, NOT_FOR_PATIENT, differing
from fhir_server.access.matrix import find_habilitation, habilitations, matrix_version
from fhir_server.access.policy import Policy
from fhir_server.access.relabelling import may_relabel
from fhir_server.access.rule import Action
from fhir_server.access.scopes import parse_scopes
from fhir_server.fhir.definitions import resource_types
from fhir_server.search.ast import And, Everything, Nothing, OfNoPatient, Or, PatientIs, TypeIs
from fhir_server.search.indexer import to_index
from fhir_server.search.matcher import index_document, matches

ALL = parse_scopes("patient/*.cruds").scopes
MARIE = Caller("k", "patient", user="Patient/marie", patient="marie", scopes=ALL)
RECORD = RecordFacts("Patient/marie")
ACTIONS: Sequence[Action] = (
    "read",
    "vread",
    "search",
    "history",
    "create",
    "update",
    "patch",
    "delete",
    "refer",
    "define",
)


def policy_of(caller: Caller, *records: RecordFacts) -> Policy:
    return Policy(caller, source=lambda patients: Facts(caller, records))


def observation(patient: str = "marie", code: str = "laboratory") -> dict[str, Any]:
    one = {
        "resourceType": "Observation",
        "id": "x",
        "status": "final",
        "code": {"text": "x"},
        "category": [{"coding": [{"system": "http://c", "code": code}]}],
        "subject": {"reference": f"Patient/{patient}"},
    }
    return index_document("Observation/x", datetime(2026, 1, 1, tzinfo=UTC), to_index(one))


def test_nothing_is_open_to_who_is_not_known() -> None:
    for caller in (
        Caller("a", "anonymous"),
        Caller("a", "anonymous", scopes=ALL),
        Caller("p", "professional", scopes=ALL),
    ):
        policy = policy_of(caller)
        for kind in resource_types():
            for action in ACTIONS:
                if caller.kind == "anonymous":
                    assert isinstance(policy.filter(kind, action), Nothing), (kind, action)
        assert not policy.permits("read", observation()).allowed


def test_nothing_is_withheld_where_there_is_no_authentication() -> None:
    for caller in (OPEN_CALLER, LOCAL_CALLER):
        policy = Policy(caller)
        assert policy.filter(None, "read") == policy.filter("Patient", "delete") == Everything()
        assert policy.permits("delete", observation()) == Decision(True, caller.kind)
        assert policy.is_scoped("Patient", "delete")
        assert policy.chooses_ids("Patient")
        assert policy.explains
        assert policy.digest == caller.kind
        assert policy.about(["Patient/marie"]) is policy


def test_an_error_in_a_rule_closes_and_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(facts: Facts, resource_type: str, action: Action) -> None:
        raise LookupError(resource_type)

    monkeypatch.setattr(module, "RULES", (*module.RULES, broken))
    module._compile.cache_clear()
    told: list[Exception] = []
    policy = Policy(MARIE, source=lambda patients: Facts(MARIE, (RECORD,)), failed=told.append)
    assert policy.filter("Observation", "read") == Nothing()
    assert policy.permits("read", observation()) == Decision(False, missing="error")
    assert isinstance(told[0], LookupError)
    untold = policy_of(MARIE, RECORD)
    assert untold.permits("read", observation()) == Decision(False, missing="error")
    module._compile.cache_clear()


def test_a_policy_without_facts_opens_no_record() -> None:
    policy = Policy(MARIE)
    assert policy.permits("read", observation()) == Decision(False, missing="rule")
    assert policy.about(["Patient/marie"]) is policy


def test_decisions_name_the_rule_or_what_is_missing() -> None:
    policy = policy_of(MARIE, RECORD)
    assert policy.permits("read", observation()) == Decision(True, "own-record")
    assert policy.permits("read", observation("luc")) == Decision(False, missing="scope")
    narrow = policy_of(Caller("k", "patient", patient="marie", scopes=parse_scopes("patient/Patient.r").scopes), RECORD)
    assert narrow.permits("read", observation()) == Decision(False, missing="scope")
    assert policy.permits("update", observation(), Delta(frozenset({"status"}))) == Decision(False, missing="rights")
    hiding = Delta(labels=frozenset(NOT_FOR_PATIENT[:1]))
    assert policy.permits("create", observation(), hiding) == Decision(False, missing="labels")
    masking = Delta(labels=frozenset(MASKED[:1]))
    assert policy.permits("update", observation(), masking) == Decision(True, "own-masking")
    assert policy.permits("create", observation(), Delta(moves=True)) == Decision(False, missing="rights")


def test_the_digest_changes_with_the_rights_and_not_with_the_token() -> None:
    digest = policy_of(MARIE, RECORD).digest
    assert (
        policy_of(Caller("k", "patient", user="Patient/marie", patient="marie", scopes=ALL, token="t")).digest == digest
    )
    assert policy_of(Caller("k", "patient", user="Patient/marie", patient="marie")).digest != digest


def test_the_tree_of_all_types_is_that_of_each() -> None:
    policy = policy_of(MARIE, RECORD)
    whole = policy.filter(None, "search")
    assert matches(whole, observation())
    assert not matches(whole, observation("luc"))
    assert policy.about(["Patient/b"]) is policy, "who acts for one patient is told of no other"
    doctor = policy_of(replace(MARIE, kind="professional"), RECORD)
    assert doctor.about(["Patient/b", "Patient/a", "Patient/b"]).patients == ("Patient/a", "Patient/b")


def test_a_request_asks_for_its_facts_once_for_each_thing_it_does() -> None:
    asked: list[Sequence[str] | None] = []

    def source(patients: Sequence[str] | None) -> Facts:
        asked.append(patients)
        return Facts(MARIE, (RECORD,))

    policy = Policy(MARIE, source=source)
    for _ in range(3):
        assert policy.is_scoped("Observation", "read")
        assert policy.is_by_identity("Observation", "read")
        assert policy.permits("read", observation()).allowed
        assert matches(policy.filter("Observation", "search"), observation())
    assert len(asked) == 2, "read and search"
    closed = replace(policy, source=lambda patients: Facts(MARIE, (replace(RECORD, open=False),)))
    assert not closed.permits("read", observation()).allowed, "nothing of it is taken over by another policy"


def test_what_a_service_finds_by_its_own_name_does_not_narrow_what_it_is_trusted_with() -> None:
    scopes = parse_scopes("system/*.cruds").scopes
    trusted = policy_of(Caller("s", "system", organization="Organization/s", scopes=scopes, trusted=True))
    assert trusted.filter("Observation", "search") == TypeIs(("Observation",)), "as the database is asked by anybody"
    owned = {**observation(), "o": ["Organization/s"]}
    assert trusted.permits("read", owned) == Decision(True, "structure")
    assert trusted.permits("read", observation()) == Decision(True, "trusted-service")
    about_marie = policy_of(replace(trusted.caller, patient="marie"))
    record = Or((PatientIs(("Patient/marie",)), OfNoPatient()))
    assert about_marie.filter("Observation", "search") == And((TypeIs(("Observation",)), record))
    feeding = policy_of(Caller("s", "system", organization="Organization/s", scopes=scopes))
    assert matches(feeding.filter("Observation", "search"), owned)
    assert not matches(feeding.filter("Observation", "search"), observation())


SCOPES = (
    "patient/Observation.rs", "patient/Observation.rs?category=laboratory", "patient/*.r", "patient/Condition.rs",
    "user/Observation.rs?category=vital-signs", "user/Observation.cud", "system/*.rs",
)  # fmt: skip


@given(
    st.lists(st.sampled_from(SCOPES), max_size=4),
    st.sampled_from(("marie", "luc")),
    st.sampled_from(("laboratory", "vital-signs")),
    st.sampled_from(ACTIONS),
)
def test_scopes_together_open_no_more_than_each_apart(words: list[str], whose: str, code: str, action: Action) -> None:
    document = observation(whose, code)

    def allowed(text: str) -> bool:
        scopes = parse_scopes(text).scopes
        return (
            policy_of(Caller("k", "patient", patient="marie", scopes=scopes), RECORD).permits(action, document).allowed
        )

    assert allowed(" ".join(words)) == any([allowed(""), *map(allowed, words)])


CALLERS = (
    MARIE,
    replace(MARIE, kind="representative"),
    Caller("d", "professional", user="Practitioner/d", profession="10", scopes=parse_scopes("user/*.cruds").scopes),
    Caller("s", "system", organization="Organization/s", scopes=parse_scopes("system/*.cruds").scopes),
    Caller("t", "system", scopes=parse_scopes("system/*.cruds").scopes, trusted=True),
    Caller("o", "operator", scopes=parse_scopes("user/*.cruds").scopes),
    OPEN_CALLER,
)
RECORDS = st.builds(
    RecordFacts,
    st.just("Patient/marie"),
    open=st.booleans(),
    adult=st.booleans(),
    represented=st.booleans(),
    care_team=st.booleans(),
    general_practitioner=st.booleans(),
)


@given(
    st.sampled_from(CALLERS),
    RECORDS,
    st.sampled_from(("marie", "luc")),
    st.sets(st.sampled_from((MASKED[0], NOT_FOR_PATIENT[0], "s|R"))),
    st.sets(st.sampled_from(("Patient/marie", "Practitioner/d", "Organization/s"))),
    st.sampled_from(ACTIONS),
)
def test_what_is_permitted_is_what_the_tree_describes(
    caller: Caller, record: RecordFacts, whose: str, labels: set[str], owners: set[str], action: Action
) -> None:
    document = {**observation(whose), "l": sorted(labels), "o": sorted(owners)}
    policy = policy_of(caller, record)
    assert policy.permits(action, document).allowed == matches(policy.filter("Observation", action), document)


def test_only_who_sees_all_ids_gives_some() -> None:
    system = parse_scopes("system/*.cruds").scopes
    trusted = policy_of(Caller("s", "system", scopes=system, trusted=True))
    assert trusted.chooses_ids("Observation")
    assert not trusted.chooses_ids("AuditEvent")
    narrow = parse_scopes("system/Observation.cruds?category=laboratory").scopes
    assert not policy_of(Caller("s", "system", scopes=narrow, trusted=True)).chooses_ids("Observation")
    wider = parse_scopes("system/Observation.cruds?category=laboratory system/Observation.rs").scopes
    assert policy_of(Caller("s", "system", scopes=wider, trusted=True)).chooses_ids("Observation")
    assert not policy_of(Caller("s", "system", scopes=system)).chooses_ids("Observation")
    operator = policy_of(Caller("o", "operator", scopes=parse_scopes("user/*.cruds").scopes))
    assert operator.chooses_ids("Organization")
    assert not operator.chooses_ids("Schedule")
    assert not operator.chooses_ids("Patient")


@pytest.mark.parametrize(
    ("kind", "owned", "label", "may"),
    [
        ("patient", True, MASKED[0], True),
        ("patient", True, NOT_FOR_PATIENT[0], False),
        ("patient", True, "http://terminology.hl7.org/CodeSystem/v3-Confidentiality|R", True),
        ("patient", False, MASKED[0], False),
        ("representative", True, MASKED[0], True),
        ("professional", True, NOT_FOR_PATIENT[0], True),
        ("professional", False, NOT_FOR_PATIENT[0], False),
        ("system", True, "http://x|y", True),
        ("operator", True, "http://x|y", False),
    ],
)
def test_labels_are_for_who_put_the_resource_there(kind: Any, owned: bool, label: str, may: bool) -> None:
    caller = Caller(
        "k", kind, user="Practitioner/1", patient="marie" if kind in ("patient", "representative") else None
    )
    owner = "Patient/marie" if caller.patient else "Practitioner/1"
    document = {"o": [owner] if owned else ["Practitioner/other"]}
    assert may_relabel(Facts(caller), document, frozenset({label})) == may
    assert may_relabel(Facts(caller), document, frozenset())
    assert may_relabel(Facts(Caller("s", "system", trusted=True)), {}, frozenset({label}))


def test_labels_differ_where_one_side_has_them() -> None:
    assert differing(["a", "b"], ["b", "c"]) == {"a", "c"}


def test_a_profession_that_the_matrix_does_not_name_sees_nothing() -> None:
    assert find_habilitation("999") is None
    assert find_habilitation("") is None
    assert {row.profession for row in habilitations()} >= {"10", "21", "40", "50", "60"}
    assert matrix_version()
    dentist = find_habilitation("40")
    assert dentist is not None
    assert dentist.tree("FamilyMemberHistory") == Nothing()
    assert dentist.tree("Observation") == Everything()
    psychiatric = {"resourceType": "DocumentReference", "id": "x", "type": {"coding": [{"code": "68599-0"}]}}
    described = index_document("DocumentReference/x", datetime(2026, 1, 1, tzinfo=UTC), to_index(psychiatric))
    assert not matches(dentist.tree("DocumentReference"), described)
    doctor = find_habilitation("10")
    assert doctor is not None
    assert doctor.tree("DocumentReference") == Everything()
