"""One request to the authorization server as Authlib reads it: each parameter from where it belongs, or not at all.

Spec: https://www.rfc-editor.org/rfc/rfc6749#section-3.1, #section-3.2
"""

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from authlib.oauth2.rfc6749 import InvalidRequestError, JsonPayload, JsonRequest, OAuth2Payload, OAuth2Request
from werkzeug.datastructures import MultiDict


class Payload(OAuth2Payload):
    """The parameters of a request; of a repeated one ``data`` has the first."""

    def __init__(self, parameters: MultiDict[str, str]) -> None:
        self._parameters = parameters

    @property
    def data(self) -> MultiDict[str, str]:
        """The parameters."""
        return self._parameters

    @property
    def datalist(self) -> defaultdict[str, list[str]]:
        """All values of each."""
        return defaultdict(list, self._parameters.to_dict(flat=False))


class SmartRequest(OAuth2Request):
    """A request with the address under which the caller reached the server, and the ``address`` that it came from.

    ``base_url`` is that of FHIR, ``issuer`` the authorization server's name; ``parameters`` are those of the query for
    GET and of the form for POST, and of nowhere else.
    """

    def __init__(
        self,
        method: str,
        path: str,
        base_url: str,
        headers: Mapping[str, str],
        parameters: MultiDict[str, str],
        address: str = "",
    ) -> None:
        self.base_url = base_url
        self.address = address
        self.issuer = issuer_of(base_url)
        # Authlib refuses http; here TLS ends at the proxy in front, and without one only loopback is served.
        super().__init__(method, f"https://{self.issuer.partition('://')[2]}{path}", headers=dict(headers))
        self.uri = f"{self.issuer}{path}"
        self.payload = Payload(parameters)
        self.authority: Any = None

    @property
    def form(self) -> MultiDict[str, str]:
        """The form's parameters."""
        return self.payload.data if self.method == "POST" else MultiDict()

    def check_singles(self) -> None:
        """Raise ``InvalidRequestError`` when any parameter comes twice."""
        repeated = [name for name, values in self.payload.datalist.items() if len(values) > 1]
        if repeated:
            raise InvalidRequestError("A parameter is given more than once.")


class MetadataPayload(JsonPayload):
    """The JSON object of a registration."""

    def __init__(self, data: dict[str, Any]) -> None:
        self._data = data

    @property
    def data(self) -> dict[str, Any]:
        """The object."""
        return self._data


class MetadataRequest(JsonRequest):
    """A registration request."""

    def __init__(
        self,
        method: str,
        base_url: str,
        path: str,
        headers: Mapping[str, str],
        data: dict[str, Any],
        address: str = "",
    ) -> None:
        self.issuer = issuer_of(base_url)
        self.address = address
        super().__init__(method, f"{self.issuer}{path}", headers=dict(headers))
        self.payload = MetadataPayload(data)
        self.client: Any = None
        self.credential: Any = None
        self.metadata: dict[str, Any] = {}
        self.management = ""


def issuer_of(base_url: str) -> str:
    """Return the authorization server's name: the address above the FHIR base."""
    return base_url.rpartition("/")[0]
