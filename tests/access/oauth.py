"""What the attacks on the authorization server share."""

from collections.abc import Callable
from threading import Barrier, Thread
from typing import Any

FORM = "application/x-www-form-urlencoded"
ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


def refused(answer: Any, error: str, status: int = 400) -> str:
    """Check an error response and return its description."""
    assert answer.status_code == status, (answer.status_code, answer.text)
    assert answer.get_json()["error"] == error, answer.text
    return str(answer.get_json().get("error_description", ""))


def at_once(count: int, work: Callable[[], Any], each: list[Callable[[], Any]] | None = None) -> list[Any]:
    """Do something several times at the same moment and return what came of it."""
    works = each or [work] * count
    barrier, found = Barrier(len(works)), list[Any]()

    def run(one: Callable[[], Any]) -> None:
        barrier.wait()
        found.append(one())

    threads = [Thread(target=run, args=(one,)) for one in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found
