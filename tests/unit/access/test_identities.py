"""The same professional by any of the spellings of a number, and nobody else."""

import pytest

from fhir_server.access.identities import identity_key, name_of, spellings, split_identifier

IDNAT = "urn:oid:1.2.250.1.71.4.2.1"
RPPS = "https://rpps.esante.gouv.fr"


def test_a_number_of_the_national_directory_is_one_however_it_is_written() -> None:
    written = [f"{IDNAT}|899700218896", f"{RPPS}|99700218896", f"{RPPS}|899700218896", f"{IDNAT}|99700218896"]
    assert {identity_key(one) for one in written} == {"rpps|99700218896"}
    assert set(spellings(written[0])) == set(written)


@pytest.mark.parametrize(
    "identifier",
    [
        f"{IDNAT}|099700218896",
        f"{IDNAT}|8997002188",
        f"{IDNAT}|8997002l8896",
        "http://x|899700218896",
        f"{IDNAT}|٨99700218896",
    ],
)
def test_any_other_identifier_stays_as_it_is(identifier: str) -> None:
    assert identity_key(identifier) == identifier
    assert spellings(identifier) == (identifier,)


@pytest.mark.parametrize(
    ("reference", "name"),
    [
        ({"reference": "Practitioner/1"}, "Practitioner/1"),
        ({"reference": "Practitioner/1/_history/3"}, "Practitioner/1"),
        ({"identifier": {"system": IDNAT, "value": "899700218896"}}, "rpps|99700218896"),
        ({"identifier": {"value": "7"}}, "|7"),
        ({"identifier": {"system": IDNAT}}, ""),
        ({"display": "Dr X"}, ""),
    ],
)
def test_a_reference_names_whom_it_points_to(reference: dict[str, object], name: str) -> None:
    assert name_of(reference) == name


def test_an_identifier_is_split_at_its_last_bar() -> None:
    assert split_identifier("http://x|y|7") == ("http://x|y", "7")
