"""Conditional interactions and version-aware updates (http://hl7.org/fhir/R4/http.html#concurrency)."""

from concurrent.futures import ThreadPoolExecutor

from tests.rest.fhir import Fhir, entry, patient

SYSTEM = "http://example.org/ids"


def identified(value: str, **more: object) -> dict[str, object]:
    return patient(identifier=[{"system": SYSTEM, "value": value}], **more)


def test_a_conditional_create_makes_one_resource(fhir: Fhir) -> None:
    first = fhir.post("Patient", identified("1"), If_None_Exist=f"identifier={SYSTEM}|1")
    second = fhir.post("Patient", identified("1"), If_None_Exist=f"identifier={SYSTEM}|1")
    assert (first.status, second.status) == (201, 200)
    assert second.headers["Location"] == first.headers["Location"]
    assert fhir.get("Patient").body["total"] == 1


def test_a_conditional_create_with_several_matches_is_refused(fhir: Fhir) -> None:
    fhir.create(identified("1"))
    fhir.create(identified("1"))
    reply = fhir.post("Patient", identified("1"), If_None_Exist=f"identifier={SYSTEM}|1")
    assert reply.status == 412
    assert reply.issues[0]["code"] == "multiple-matches"


def test_criteria_that_are_not_understood_are_refused_and_nothing_is_written(fhir: Fhir) -> None:
    for criteria in ("", "unknown=1", "_count=1", "identifier:wrong=1"):
        assert fhir.post("Patient", patient(), If_None_Exist=criteria).status == 400
    assert fhir.get("Patient").body["total"] == 0


def test_32_parallel_conditional_creates_leave_one_resource(fhir: Fhir) -> None:
    def create(_: int) -> int:
        return fhir.post("Patient", identified("32"), If_None_Exist=f"identifier={SYSTEM}|32").status

    with ThreadPoolExecutor(32) as pool:
        statuses = sorted(pool.map(create, range(32)))
    assert statuses == [200] * 31 + [201]
    assert fhir.get(f"Patient?identifier={SYSTEM}|32").body["total"] == 1


def test_parallel_updates_with_the_same_if_match_have_one_winner(fhir: Fhir) -> None:
    first = fhir.create(patient())

    def update(number: int) -> int:
        body = {**first, "birthDate": f"2000-01-{number + 1:02}"}
        return fhir.put(f"Patient/{first['id']}", body, If_Match='W/"1"').status

    with ThreadPoolExecutor(16) as pool:
        statuses = sorted(pool.map(update, range(16)))
    assert statuses == [200] + [412] * 15
    assert fhir.get(f"Patient/{first['id']}").body["meta"]["versionId"] == "2"


def test_parallel_updates_without_if_match_all_win_in_turn(fhir: Fhir) -> None:
    first = fhir.create(patient())

    def update(number: int) -> int:
        return fhir.put(f"Patient/{first['id']}", {**first, "birthDate": f"2000-01-{number + 1:02}"}).status

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(update, range(8))) == {200}
    versions = [
        entry["resource"]["meta"]["versionId"] for entry in fhir.get(f"Patient/{first['id']}/_history").body["entry"]
    ]
    assert versions == [str(number) for number in range(9, 0, -1)]


def test_if_match_refuses_a_version_that_is_not_the_present_one(fhir: Fhir) -> None:
    first = fhir.create(patient())
    address = f"Patient/{first['id']}"
    assert fhir.put(address, {**first, "active": True}, If_Match='W/"9"').status == 412
    assert fhir.put(address, {**first, "active": True}, If_Match="nonsense").status == 412
    assert fhir.delete(address, If_Match='W/"9"').status == 412
    assert fhir.put(address, {**first, "active": True}, If_Match='W/"1"').status == 200
    assert fhir.delete(address, If_Match='W/"2"').status == 204


def test_if_none_match_star_creates_only_what_is_not_there(fhir: Fhir) -> None:
    assert fhir.put("Patient/once", patient(id="once"), If_None_Match="*").status == 201
    assert fhir.put("Patient/once", patient(id="once", active=True), If_None_Match="*").status == 412


def test_a_conditional_update_creates_then_updates(fhir: Fhir) -> None:
    first = fhir.put(f"Patient?identifier={SYSTEM}|1", identified("1"))
    assert first.status == 201
    second = fhir.put(f"Patient?identifier={SYSTEM}|1", identified("1", active=True))
    assert second.status == 200
    assert second.body["id"] == first.body["id"]
    assert second.body["meta"]["versionId"] == "2"


def test_a_conditional_update_refuses_several_matches_and_a_wrong_id(fhir: Fhir) -> None:
    fhir.create(identified("1"))
    assert fhir.put(f"Patient?identifier={SYSTEM}|1", identified("1", id="other")).status == 400
    fhir.create(identified("1"))
    assert fhir.put(f"Patient?identifier={SYSTEM}|1", identified("1")).status == 412


def test_a_conditional_update_without_criteria_is_refused(fhir: Fhir) -> None:
    assert fhir.put("Patient", identified("1")).status == 400


def test_a_conditional_patch_changes_the_only_match(fhir: Fhir) -> None:
    operations = [{"op": "add", "path": "/active", "value": True}]
    address = f"Patient?identifier={SYSTEM}|1"
    assert fhir.patch(address, operations, Content_Type="application/json-patch+json").status == 404
    fhir.create(identified("1"))
    assert fhir.patch(address, operations, Content_Type="application/json-patch+json").body["active"] is True


def test_a_conditional_delete_takes_one_match_and_refuses_several(fhir: Fhir) -> None:
    address = f"Patient?identifier={SYSTEM}|1"
    assert fhir.delete(address).status == 204
    first = fhir.create(identified("1"))
    second = fhir.create(identified("1"))
    assert fhir.delete(address).status == 412
    assert fhir.delete(f"Patient/{second['id']}").status == 204
    assert fhir.delete(address).status == 204
    assert fhir.get(f"Patient/{first['id']}").status == 410


def test_a_conditional_delete_takes_all_matches_where_the_setting_allows_it(fhir_with: object) -> None:
    fhir: Fhir = fhir_with(conditional_delete="multiple")  # type: ignore[operator]
    ids = [fhir.create(identified("1"))["id"] for _ in range(5)]
    reply = fhir.delete(f"Patient?identifier={SYSTEM}|1", Prefer="return=OperationOutcome")
    assert reply.status == 200
    assert {fhir.get(f"Patient/{id}").status for id in ids} == {410}


def test_a_conditional_delete_takes_no_part_of_more_than_it_may_take(fhir_with: object) -> None:
    fhir: Fhir = fhir_with(conditional_delete="multiple")  # type: ignore[operator]
    entries = [entry("PUT", f"Patient/p{number}", {**identified("1"), "id": f"p{number}"}) for number in range(1_001)]
    assert fhir.transact(*entries).status == 200
    reply = fhir.delete(f"Patient?identifier={SYSTEM}|1")
    assert reply.status == 400, reply.content
    assert reply.issues[0]["code"] == "too-costly"
    assert fhir.get("Patient?_summary=count").body["total"] == 1_001
    assert fhir.delete("Patient/p0").status == 204
    assert fhir.delete(f"Patient?identifier={SYSTEM}|1").status in (200, 204)
    assert fhir.get("Patient?_summary=count").body["total"] == 0


def test_a_delete_of_everything_by_empty_criteria_is_refused(fhir: Fhir) -> None:
    fhir.create(patient())
    assert fhir.delete("Patient").status == 400
    assert fhir.delete("Patient?_count=5").status == 400
    assert fhir.get("Patient").body["total"] == 1
