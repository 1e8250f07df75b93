"""``fhir-server load``: what files may look like, that it can be repeated, and that failures are named."""

import bz2
import gzip
import io
import json
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from fhir_server.app import Composition
from fhir_server.commands.loading import sources
from fhir_server.commands.loading.hands import Hands, Manner, Worker
from fhir_server.commands.loading.loader import load_files
from fhir_server.commands.loading.report import Outcome
from fhir_server.commands.loading.requests import from_document, repeatable
from fhir_server.commands.loading.sources import Unreadable, find_files, read_pieces
from fhir_server.commands.loading.targets import DirectTarget
from fhir_server.errors import Invalid, NotSupported

Load = Callable[..., Outcome]

PRACTITIONER = {"resourceType": "Practitioner", "id": "d", "identifier": [{"system": "urn:x", "value": "9"}]}


def entry(resource: dict[str, Any], full_url: str | None = None, **request: str) -> dict[str, Any]:
    built = {"resource": resource, "request": {"method": "POST", "url": resource["resourceType"], **request}}
    return built if full_url is None else {"fullUrl": full_url, **built}


def bundle(kind: str, *entries: dict[str, Any]) -> bytes:
    return json.dumps({"resourceType": "Bundle", "type": kind, "entry": list(entries)}).encode()


def patient(id: str, **more: Any) -> dict[str, Any]:
    return {"resourceType": "Patient", "id": id, **more}


def zipped(**members: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return stream.getvalue()


@pytest.fixture
def load(composition: Composition) -> Load:
    """Return a function that loads paths into an empty store."""

    @contextmanager
    def hands() -> Iterator[Hands]:
        worker = Worker(DirectTarget(composition, "en"), Manner(False, "en"))
        with ThreadPoolExecutor(2) as executor:
            yield Hands(executor, 2, worker.load, lambda shipment, last: worker.send(shipment, last=last))

    def run(*paths: Path) -> Outcome:
        files, problems = find_files(paths)
        assert problems == []
        with hands() as opened:
            return load_files(files, opened, lambda size, outcome: None)

    return run


PLAIN = json.dumps(patient("a")).encode()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.json", PLAIN),
        ("a.ndjson", PLAIN + b"\n"),
        ("a.json.gz", gzip.compress(PLAIN)),
        ("a.JSON.BZ2", bz2.compress(PLAIN)),
        ("a.ndjson.gz.bz2", bz2.compress(gzip.compress(PLAIN))),
        ("a.zip", zipped(**{"x/a.json": PLAIN, "readme.txt": b"no"})),
        ("a.zip.gz", gzip.compress(zipped(**{"a.json.gz": gzip.compress(PLAIN)}))),
        ("a.zip", zipped(**{"b.zip": zipped(**{"c.ndjson.bz2": bz2.compress(PLAIN)})})),
        ("a.zip", zipped(**{"../../../etc/a.json": PLAIN, "/abs.txt": b""})),
    ],
    ids=lambda value: value if isinstance(value, str) else "",  # packed bytes hold the time, and differ by worker
)
def test_files_are_read_however_they_are_packed(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    (piece,) = read_pieces(tmp_path / name)
    assert piece.content.strip() == PLAIN


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.json.gz", b"not gzip"),
        ("a.json.gz", gzip.compress(PLAIN)[:-6]),
        ("a.json.bz2", bz2.compress(PLAIN)[:-6]),
        ("a.zip", b"not zip"),
        ("a.zip", zipped(a=b"")[:30]),
        ("a.json.gz", gzip.compress(b"x" * 2_000)),
        ("a.ndjson.gz", gzip.compress(b"x" * 2_000)),
        ("a.zip", zipped(**{"a.json": b"x" * 2_000})),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_broken_or_exploding_file_is_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, content: bytes
) -> None:
    monkeypatch.setattr(sources, "MAX_DOCUMENT", 1_000)
    (tmp_path / name).write_bytes(content)
    with pytest.raises(Unreadable) as refusal:
        list(read_pieces(tmp_path / name))
    assert name in refusal.value.origin


def test_archives_cannot_nest_without_end(tmp_path: Path) -> None:
    content = zipped(**{"a.json": PLAIN})
    for _ in range(5):
        content = zipped(**{"a.zip": content})
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(Unreadable):
        list(read_pieces(tmp_path / "a.zip"))


def test_what_others_refer_to_goes_first_and_odd_files_are_told(tmp_path: Path) -> None:
    for name in ("b.json", "a.json", "z-practitionerInformation.json", "notes.txt"):
        (tmp_path / name).write_text("{}")
    files, problems = find_files([tmp_path, tmp_path / "nowhere", tmp_path / "notes.txt", Path("/dev/null")])
    assert [path.name for path in files] == ["z-practitionerInformation.json", "a.json", "b.json"]
    assert len(problems) == 3


def test_many_lines_are_cut_into_pieces_that_know_their_numbers(tmp_path: Path) -> None:
    (tmp_path / "a.ndjson").write_bytes(b"{}\n" * 450)
    assert [piece.first for piece in read_pieces(tmp_path / "a.ndjson")] == [1, 201, 401]


def test_a_post_becomes_a_put_to_the_resources_own_id() -> None:
    urn = "urn:uuid:0b0c3d1e-5a5f-4b52-9b0e-0d6f6a2d7b11"
    assert repeatable(entry(patient("a"), urn))["request"] == {"method": "PUT", "url": "Patient/a"}
    named = repeatable(entry({"resourceType": "Patient"}, urn))
    assert named["resource"]["id"] == urn.removeprefix("urn:uuid:")
    derived = repeatable(entry({"resourceType": "Patient"}))
    assert derived == repeatable(entry({"resourceType": "Patient"}))


@pytest.mark.parametrize(
    "kept",
    [
        entry(patient("a"), ifNoneExist="identifier=1"),
        {"request": {"method": "DELETE", "url": "Patient/a"}},
        {"resource": patient("a"), "request": {"method": "PUT", "url": "Patient?identifier=1"}},
        {"resource": {"resourceType": "Parameters"}, "request": {"method": "POST", "url": "Patient/a/$meta-add"}},
    ],
)
def test_entries_that_can_be_repeated_stay_as_they_are(kept: dict[str, Any]) -> None:
    assert repeatable(kept) is kept


def test_as_is_means_as_is() -> None:
    content = bundle("transaction", entry(patient("a")))
    assert from_document(content, "f", as_is=True).bundle == json.loads(content)


def test_collections_become_transactions_and_documents_stay_whole() -> None:
    remark = {"resource": {"resourceType": "OperationOutcome"}, "search": {"mode": "outcome"}}
    shipment = from_document(bundle("searchset", {"resource": patient("a")}, remark), "f", as_is=False)
    assert shipment.bundle["type"] == "transaction"
    assert [each["request"]["url"] for each in shipment.bundle["entry"]] == ["Patient/a"]
    whole = from_document(bundle("document", {"resource": {"resourceType": "Composition"}}), "f", as_is=False)
    assert whole.bundle["entry"][0]["resource"]["type"] == "document"


def test_what_holds_no_state_is_refused() -> None:
    with pytest.raises(NotSupported):
        from_document(bundle("history"), "f", as_is=False)
    for content in (b"[]", b"{}", b"1", b'{"resourceType":1}', b"{"):
        with pytest.raises(Invalid):
            from_document(content, "f", as_is=False)


def test_a_second_run_writes_nothing_new(tmp_path: Path, composition: Composition, load: Load) -> None:
    subject = "urn:uuid:0b0c3d1e-5a5f-4b52-9b0e-0d6f6a2d7b11"
    observation = {
        "resourceType": "Observation",
        "status": "final",
        "code": {"text": "x"},
        "subject": {"reference": subject},
    }
    (tmp_path / "a.json").write_bytes(bundle("transaction", entry(patient("p"), subject), entry(observation)))
    first, second = load(tmp_path), load(tmp_path)
    assert (first.created, first.failures) == ({"Patient": 1, "Observation": 1}, [])
    assert (second.created.total(), second.present.total(), second.failures) == (0, 2, [])
    assert composition.store().counts().items() >= {"Patient": 1, "Observation": 1}.items()
    document = composition.store().get("Patient/p")
    assert document is not None
    assert document.version == 1


def test_what_lacks_something_is_sent_again_after_the_rest(tmp_path: Path, load: Load) -> None:
    conditional = {"reference": "Practitioner?identifier=urn:x|9"}
    (tmp_path / "a.json").write_bytes(bundle("transaction", entry(patient("p", generalPractitioner=[conditional]))))
    (tmp_path / "b.json").write_bytes(bundle("transaction", entry(PRACTITIONER)))
    outcome = load(tmp_path)
    assert outcome.failures == []
    assert outcome.resources == 2


def test_lines_that_refer_to_one_another_go_in_together(tmp_path: Path, load: Load) -> None:
    lines = [
        patient("a", link=[{"type": "seealso", "other": {"reference": "Patient/b"}}]),
        patient("b", link=[{"type": "seealso", "other": {"reference": "Patient/a"}}]),
    ]
    (tmp_path / "a.ndjson").write_text("\n".join(json.dumps(line) for line in lines))
    outcome = load(tmp_path)
    assert outcome.failures == []
    assert outcome.created["Patient"] == 2


def test_every_failure_is_named_by_file_and_entry(tmp_path: Path, load: Load) -> None:
    good, bad = json.dumps(patient("a")), json.dumps(patient("b", gender="odd"))
    lost = json.dumps(patient("c", generalPractitioner=[{"reference": "Practitioner/none"}]))
    (tmp_path / "a.ndjson").write_text(f"{good}\n{bad}\nnot json\n{lost}\n")
    (tmp_path / "b.json").write_bytes(bundle("transaction", entry(patient("d", birthDate="yesterday"))))
    (tmp_path / "c.json").write_text('{"resourceType":')
    (tmp_path / "d.json.gz").write_bytes(b"broken")
    outcome = load(tmp_path)
    assert outcome.created == {"Patient": 1}
    places = sorted(Path(failure.place).name for failure in outcome.failures)
    assert places == ["a.ndjson:2", "a.ndjson:3", "a.ndjson:4", "b.json", "c.json", "d.json.gz"]
    assert not any(word in str(outcome.failures) for word in ("odd", "yesterday"))
