"""Settings: read once, typed, and every mistake named at once."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_server.settings import Settings, SettingsError


def test_without_variables_every_default_holds() -> None:
    settings = Settings.from_environment({})
    assert settings == Settings()
    assert settings.base_url == "http://127.0.0.1:8000/fhir"
    assert (settings.max_body, settings.page_link_lifetime, settings.trusted_proxies) == (96 << 20, 3600.0, ())


def test_the_public_base_follows_host_and_port() -> None:
    assert Settings.from_environment({}, port=9000).base_url == "http://127.0.0.1:9000/fhir"
    assert Settings.from_environment({"FHIR_SERVER_HOST": "::1"}).base_url == "http://[::1]:8000/fhir"
    given_base = {"FHIR_SERVER_BASE_URL": "https://dossier.example.org/fhir/"}
    assert Settings.from_environment(given_base, port=9000).base_url == "https://dossier.example.org/fhir"


def test_options_win_over_variables_unless_they_are_not_given() -> None:
    settings = Settings.from_environment({"FHIR_SERVER_WORKERS": "4", "FHIR_SERVER_PORT": "1"}, workers=3, port=None)
    assert (settings.workers, settings.port) == (3, 1)


@pytest.mark.parametrize(
    ("text", "size"), [("0", 0), ("512", 512), ("1KB", 1024), ("1.5 MB", 1_572_864), ("2gb", 2 << 30), ("7B", 7)]
)
def test_a_size_is_written_with_its_unit(text: str, size: int) -> None:
    assert Settings.from_environment({"FHIR_SERVER_GZIP_MIN_BYTES": text}).gzip_min_bytes == size


@pytest.mark.parametrize(("text", "seconds"), [("0.5", 0.5), ("90s", 90), ("5m", 300), ("2h", 7200), ("7d", 604_800)])
def test_a_duration_is_written_with_its_unit(text: str, seconds: float) -> None:
    assert Settings.from_environment({"FHIR_SERVER_REQUEST_TIMEOUT": text}).request_timeout == seconds


def test_every_mistake_is_named_at_once() -> None:
    environ = {
        "FHIR_SERVER_BASE_URL": "ftp://example.org",
        "FHIR_SERVER_CONDITIONAL_DELETE": "some",
        "FHIR_SERVER_DATA": "",
        "FHIR_SERVER_DATABASE": "a/b",
        "FHIR_SERVER_HOST": "",
        "FHIR_SERVER_MAX_BODY": "much",
        "FHIR_SERVER_PORT": "70000",
        "FHIR_SERVER_PROT": "8000",
        "FHIR_SERVER_REQUEST_TIMEOUT": "soon",
        "FHIR_SERVER_UPDATE_AS_CREATE": "perhaps",
        "FHIR_SERVER_WORKERS": "0",
        "FHIR_SERVER_ZZZZZZ": "1",
    }
    with pytest.raises(SettingsError) as caught:
        Settings.from_environment(environ)
    assert sorted(problem.split()[0] for problem in caught.value.problems) == sorted(environ)
    assert "FHIR_SERVER_PROT is not a setting; did you mean FHIR_SERVER_PORT?" in caught.value.problems
    assert "FHIR_SERVER_ZZZZZZ is not a setting." in caught.value.problems


def test_settings_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(SettingsError, match="DEFAULT_COUNT must not be more than") as caught:
        Settings.from_environment({"FHIR_SERVER_MAX_COUNT": "5", "FHIR_SERVER_MAX_ATTACHMENT": "1GB"})
    assert len(caught.value.problems) == 2


def test_the_address_of_the_database_is_not_shown() -> None:
    assert "hunter2" not in repr(Settings.from_environment({"FHIR_SERVER_MONGODB_URI": "mongodb://me:hunter2@db/"}))


def test_the_process_environment_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FHIR_SERVER_DATA", "/srv/fhir")
    assert Settings.from_environment().data_directory == Path("/srv/fhir")


@given(
    port=st.integers(0, 65_535),
    max_body=st.integers(64 << 20, 1 << 40),
    request_timeout=st.integers(0, 10**12).map(lambda microseconds: microseconds / 1_000_000),
    update_as_create=st.booleans(),
    cors_origins=st.lists(st.from_regex(r"https://[a-z]{1,8}\.example", fullmatch=True)).map(tuple),
    secret_key_file=st.none() | st.just(Path("/run/secrets/key")),
)
def test_another_process_gets_equal_settings(**given_values: object) -> None:
    settings = Settings.from_environment({}, **given_values)
    assert Settings.from_environment(settings.to_environment()) == settings


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "::1", "localhost"])
def test_a_server_may_be_open_on_the_loopback(host: str) -> None:
    assert Settings.from_environment({"FHIR_SERVER_AUTH": "open", "FHIR_SERVER_HOST": host}).auth == "open"


@pytest.mark.parametrize(
    "host", ["0.0.0.0", "::", "10.0.0.1", "example.org", "localhost.example.org", "127.0.0.1.nip.io"]
)
def test_a_server_is_never_open_to_others(host: str) -> None:
    with pytest.raises(SettingsError, match="FHIR_SERVER_AUTH=open"):
        Settings.from_environment({"FHIR_SERVER_AUTH": "open", "FHIR_SERVER_HOST": host})
    assert Settings.from_environment({"FHIR_SERVER_HOST": host}).auth == "smart"
