"""Messages are between those who take part in them."""

from typing import Any

from tests.access.callers import World
from tests.access.test_records import gp, marie, nurse, record

__all__ = ["record"]


def message(recipient: str, **more: Any) -> dict[str, Any]:
    return {
        "resourceType": "Communication",
        "status": "completed",
        "subject": {"reference": "Patient/marie"},
        "recipient": [{"reference": recipient}],
        "payload": [{"contentString": "Bonjour"}],
        **more,
    }


def test_a_message_is_read_by_its_patient_and_who_takes_part_and_nobody_else(record: World) -> None:
    sent = record.ask(marie).create(message("Practitioner/gp"))
    assert record.ask(gp).get(f"Communication/{sent['id']}").status == 200
    assert record.ask(nurse).get(f"Communication/{sent['id']}").status == 404
    assert record.ask(nurse).get("Communication").ids == []


def test_a_professional_writes_messages_they_take_part_in_and_corrects_their_own(record: World) -> None:
    answer = record.ask(gp).create(message("Patient/marie", sender={"reference": "Practitioner/gp"}))
    path = f"Communication/{answer['id']}"
    assert record.ask(gp).put(path, {**answer, "status": "entered-in-error"}).status == 200
    assert record.ask(nurse).put(path, answer).status in (404, 405)
    assert record.ask(marie).put(path, {**answer, "status": "completed"}).status == 403
    assert record.ask(nurse).post("Communication", message("Practitioner/gp")).status == 403
    assert record.ask(gp).delete(path).status == 204
