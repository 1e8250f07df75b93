"""The reindex job: beside writers, through kills, from the command line; nothing but the index changes."""

import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

import pytest
from click.testing import CliRunner

from fhir_server.app import Composition, build_app
from fhir_server.cli import main
from fhir_server.context import current_time
from fhir_server.fhir.json import parse_json, to_json
from fhir_server.jobs import Jobs, build_job
from fhir_server.repository.reindexing import Progress, to_rewrite
from fhir_server.repository.stored_parameters import GENERATION, REINDEX
from fhir_server.search.indexer import to_index
from fhir_server.search.stored import NONE_STORED, stored_parameters_in_force, use_stored_parameters
from fhir_server.storage.mongo import MongoStore
from fhir_server.storage.store import Change, OutdatedIndex, Plan, Query
from fhir_server.worker import Worker
from tests.rest.fhir import FHIR_JSON, Fhir, observation, patient
from tests.rest.server import Server
from tests.rest.test_search_parameters import definition, with_eyes

COUNT = 1_500

CHILD = """
import sys
from pathlib import Path
from fhir_server.app import Composition
from fhir_server.settings import Settings
from fhir_server.worker import Worker
uri, database, data = sys.argv[1:]
settings = Settings.from_environment({}, mongodb_uri=uri, database=database, data_directory=Path(data))
Worker(Composition(settings), lease=0.5).run_due(lambda progress: print(progress.done, flush=True))
"""


@pytest.fixture
def composition(make_composition: Callable[..., Composition]) -> Composition:
    """A server's parts."""
    return make_composition()


@pytest.fixture
def fhir(composition: Composition) -> Fhir:
    """Its client."""
    return Fhir(build_app(composition))


def fill(store: MongoStore, count: int = COUNT) -> None:
    """Put patients in, each third one green-eyed."""
    changes = []
    for number in range(count):
        colour = "green" if number % 3 == 0 else "brown"
        resource = with_eyes(colour, id=f"p{number:05d}", meta={"versionId": "1"})
        with stored_parameters_in_force(NONE_STORED):
            index = to_index(resource)
        changes.append(Change(f"Patient/{resource['id']}", 0, 1, "PUT", current_time(), to_json(resource), index))
    store.commit(Plan(tuple(changes)))


def everything(store: MongoStore, **query: Any) -> list[Any]:
    """Return all patients in order."""
    return store.find(Query({"type": "Patient"}, (("_id", 1),), **query))


def test_a_reindex_changes_the_index_and_nothing_else(composition: Composition, fhir: Fhir) -> None:
    store = composition.store()
    fill(store, 250)
    before = everything(store)
    history = store.connection.database["history"].count_documents({})
    fhir.create(definition())
    assert Worker(composition).run_due() == 1
    assert everything(store) == before
    assert store.connection.database["history"].count_documents({}) == history + 1
    assert fhir.get("Patient?eyes=green&_summary=count").body["total"] == 84
    (job,) = Jobs(store.records).list(REINDEX)
    assert job.state == "finished"
    assert Progress.of(job) == Progress("Patient/p00249", 250, 250, 250)


def test_a_killed_reindex_is_resumed_where_it_was(composition: Composition, fhir: Fhir) -> None:
    store, settings = composition.store(), composition.settings
    fill(store)
    fhir.create(definition())
    words = [str(settings.mongodb_uri), settings.database, str(settings.data_directory)]
    child = subprocess.Popen([sys.executable, "-c", CHILD, *words], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    for line in child.stdout:
        if int(line) >= 300:
            break
    child.send_signal(signal.SIGKILL)
    child.wait()
    child.stdout.close()
    (job,) = Jobs(store.records).list(REINDEX)
    reached = Progress.of(job).done
    assert job.state == "running"
    assert 300 <= reached < COUNT
    reply = fhir.get("Patient?eyes=green")
    assert reply.status == 422
    assert f"{100 * reached // COUNT} %" in reply.issues[0]["details"]["text"]
    seen: list[int] = []
    worker = Worker(composition, lease=0.5)
    waited = threading.Event()
    while not worker.run_due(lambda progress: seen.append(progress.done)):
        waited.wait(0.05)
    assert seen[0] == reached + 100
    assert fhir.get("Patient?eyes=green&_summary=count").body["total"] == COUNT // 3
    assert [one.version for one in everything(store)] == [1] * COUNT


def test_writers_beside_a_reindex_lose_nothing(composition: Composition, fhir: Fhir) -> None:
    store = composition.store()
    fill(store, 600)
    stop = threading.Event()
    problems: list[Any] = []

    def write(number: int) -> None:
        count = 0
        while not stop.is_set():
            count += 1
            colour = ("green", "brown")[count % 2]
            id = f"p{(number * 37 + count * 11) % 600:05d}"
            replies = [fhir.put(f"Patient/{id}", with_eyes(colour, id=id)), fhir.post("Patient", with_eyes(colour))]
            if count % 5 == 0:
                replies.append(fhir.delete(f"Patient/p{(number + count) % 600:05d}"))
            problems.extend(reply.content for reply in replies if reply.status not in (200, 201, 204))

    writers = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for writer in writers:
        writer.start()
    try:
        fhir.create(definition())
        Worker(composition).run_due()
    finally:
        stop.set()
        for writer in writers:
            writer.join()
    assert problems == []
    with_fields = everything(store, with_index=True)
    composition.registry().refresh()
    assert [one.reference for one in with_fields if to_rewrite(one, composition.settings.base_url) is not None] == []
    green = sum(parse_json(one.body)["extension"][0]["valueCode"] == "green" for one in with_fields)
    assert fhir.get("Patient?eyes=green&_summary=count").body["total"] == green


def test_behind_the_fence_nothing_outdated_is_committed(composition: Composition) -> None:
    store = composition.store()
    store.commit(Plan((Change("Patient/a", 0, 1, "PUT", current_time(), b"{}", {}),), generation=6))
    store.index_writer.fence(7)
    try:
        with pytest.raises(OutdatedIndex):
            store.commit(Plan((Change("Patient/b", 0, 1, "PUT", current_time(), b"{}", {}),), generation=6))
        store.commit(Plan((Change("Patient/b", 0, 1, "PUT", current_time(), b"{}", {}),), generation=7))
        assert store.get("Patient/b") is not None
    finally:
        store.connection.database.command("collMod", "outbox", validator={})


def test_a_writer_of_yesterday_indexes_anew_and_succeeds(
    make_composition: Callable[..., Composition], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, late = make_composition(), make_composition()
    stale = Fhir(build_app(late))
    stale.create(patient())
    # It shares this thread with the other: it must not believe what that one has just found in force.
    monkeypatch.setattr(late.registry(), "use", lambda: use_stored_parameters(NONE_STORED))
    published = Fhir(build_app(first))
    published.create(definition())
    Worker(first).run_due()
    assert first.store().guards([GENERATION]) == {GENERATION: 1}
    stale.create(with_eyes("green"))
    assert published.get("Patient?eyes=green&_summary=count").body["total"] == 1


def test_a_worker_that_has_lost_its_lease_writes_nothing(composition: Composition, fhir: Fhir) -> None:
    store = composition.store()
    fill(store, 250)
    fhir.create(definition())
    waited = threading.Event()

    def be_overtaken(progress: Progress) -> None:
        if progress.done == 100:
            waited.wait(0.3)
            assert Worker(composition).run_due() == 1

    steps: list[int] = []
    slow = Worker(composition, lease=0.1)
    slow.run_due(lambda progress: (steps.append(progress.done), be_overtaken(progress))[0])
    assert steps == [100]
    (job,) = Jobs(store.records).list(REINDEX)
    assert job.state == "finished"
    assert Progress.of(job).done == 250


def test_a_resource_that_cannot_be_indexed_keeps_the_parameter_from_service(
    composition: Composition, fhir: Fhir
) -> None:
    fhir.create(patient(name=[{"given": ["A", "B"]}]))
    fhir.create(definition(type="token", expression="Patient.name.given.startsWith('A')"))
    assert Worker(composition).run_due() == 1
    (job,) = Jobs(composition.store().records).list(REINDEX)
    assert job.state == "failed"
    assert len(Progress.of(job).failures) == 1
    reply = fhir.get("Patient?eyes=true")
    assert reply.status == 422


def test_reindex_from_the_command_line(composition: Composition, fhir: Fhir, monkeypatch: pytest.MonkeyPatch) -> None:
    store, settings = composition.store(), composition.settings
    fill(store, 120)
    fhir.create(definition())
    monkeypatch.setenv("FHIR_SERVER_MONGODB_URI", str(settings.mongodb_uri))
    monkeypatch.setenv("FHIR_SERVER_DATABASE", settings.database)
    done = CliRunner().invoke(main, ["reindex", "--parameter", definition()["url"]])
    assert done.exit_code == 0, done.output
    assert "120 resources looked at, 120 indexed anew, 0 failures." in done.output
    assert fhir.get("Patient?eyes=green&_summary=count").body["total"] == 40
    store.connection.database["resources"].update_one(
        {"_id": "Patient/p00001"}, {"$unset": {"t": ""}, "$set": {"z": 1}}
    )
    done = CliRunner().invoke(main, ["reindex", "Patient"])
    assert "120 resources looked at, 1 indexed anew" in done.output
    assert "z" not in store.connection.database["resources"].find_one({"_id": "Patient/p00001"})  # type: ignore[operator]
    assert CliRunner().invoke(main, ["reindex", "Patiant"]).exit_code == 1
    assert CliRunner().invoke(main, ["reindex", "--parameter", "http://nowhere"]).exit_code == 1


def test_a_job_that_keeps_failing_is_tried_five_times(composition: Composition) -> None:
    records = composition.store().records
    jobs = Jobs(records)
    id = jobs.enqueue(build_job("test", {}, current_time()))
    for _ in range(5):
        records.change("jobs", {"_id": id}, [{"$set": {"after": "$$NOW"}}])
        job = jobs.claim(["test"])
        assert job is not None
        assert jobs.claim(["test"]) is None
        jobs.fail(job, "Trouble")
    last = jobs.get(id)
    assert last is not None
    assert (last.state, last.attempts, last.problem) == ("failed", 5, "Trouble")


def test_a_worker_survives_what_its_jobs_do(composition: Composition, fhir: Fhir) -> None:
    fhir.create(patient())
    jobs = Jobs(composition.store().records)
    broken = jobs.enqueue(build_job(REINDEX, {"types": None}, current_time()))
    worker = Worker(composition)
    thread = threading.Thread(target=worker.run)
    thread.start()
    until, waited = time.monotonic() + 20, threading.Event()
    while (job := jobs.get(broken)) is not None and job.problem == "" and time.monotonic() < until:
        waited.wait(0.05)
    assert job is not None
    assert (job.state, job.problem) == ("queued", "TypeError")
    good = jobs.enqueue(build_job(REINDEX, {"types": ["Patient"]}, current_time()))
    while (job := jobs.get(good)) is not None and job.state != "finished" and time.monotonic() < until:
        waited.wait(0.05)
    worker.stop()
    thread.join()
    assert job is not None
    assert job.state == "finished"


def test_a_worker_that_is_told_to_stop_gives_its_job_back(composition: Composition) -> None:
    fill(composition.store(), 250)
    jobs = Jobs(composition.store().records)
    id = jobs.enqueue(build_job(REINDEX, {"types": ["Patient"]}, current_time()))
    worker = Worker(composition)
    worker.run_due(lambda progress: worker.stop())
    job = jobs.get(id)
    assert job is not None
    assert (job.state, Progress.of(job).done, job.attempts) == ("queued", 100, 0)
    Worker(composition).run_due()
    finished = jobs.get(id)
    assert finished is not None
    assert Progress.of(finished).done == 250


def test_a_job_of_several_types_goes_on_with_the_type_that_it_had_reached(composition: Composition, fhir: Fhir) -> None:
    fill(composition.store(), 150)
    fhir.create(observation())
    jobs = Jobs(composition.store().records)
    id = jobs.enqueue(build_job(REINDEX, {"types": ["Patient", "Observation"]}, current_time()))
    first, second = Worker(composition), Worker(composition)
    seen: list[int] = []
    first.run_due(lambda progress: first.stop() if progress.done > 1 else None)
    second.run_due(lambda progress: seen.append(progress.done))
    assert seen == [151]
    job = jobs.get(id)
    assert job is not None
    assert (job.state, Progress.of(job).done, Progress.of(job).total) == ("finished", 151, 151)


def test_jobs_of_a_kind_run_one_at_a_time(composition: Composition) -> None:
    jobs = Jobs(composition.store().records)
    for _ in range(2):
        jobs.enqueue(build_job("test", {}, current_time()))
    first = jobs.claim(["test"])
    assert first is not None
    assert jobs.claim(["test"]) is None
    assert jobs.finish(first, {})
    assert not jobs.finish(first, {})
    assert jobs.claim(["test"]) is not None


def test_a_running_server_indexes_by_itself_and_beside_the_command(server: Server) -> None:
    def send(method: str, path: str, body: Any = None) -> tuple[int, Any]:
        request = urllib.request.Request(f"{server.url}/fhir/{path}", method=method, headers={"Accept": FHIR_JSON})
        if body is not None:
            request.data = to_json(body)
            request.add_header("Content-Type", FHIR_JSON)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read()

    assert send("PUT", "Patient/eyed", with_eyes("green", id="eyed"))[0] == 201
    assert send("PUT", "SearchParameter/eyes", definition(id="eyes"))[0] == 201
    until, waited = time.monotonic() + 20, threading.Event()
    # Connections go to either worker: none may say that there is no such parameter.
    while (status := send("GET", "Patient?eyes=green")[0]) == 422 and time.monotonic() < until:
        waited.wait(0.1)
    assert status == 200
    assert {send("GET", "Patient?eyes=green")[0] for _ in range(10)} == {200}
    done = CliRunner().invoke(main, ["reindex", "Patient", "--data", str(server.data)])
    assert done.exit_code == 0, done.output
    assert "0 indexed anew, 0 failures." in done.output
    assert send("DELETE", "SearchParameter/eyes")[0] == 204
    assert {send("GET", "Patient?eyes=green")[0] for _ in range(10)} == {400}
    assert send("DELETE", "Patient/eyed")[0] == 204
