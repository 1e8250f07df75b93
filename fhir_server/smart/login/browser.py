"""The browser behind a request: its cookies, language and address, and what it must bring to change anything.

Spec: https://www.rfc-editor.org/rfc/rfc6265 (with the draft's ``__Host-`` prefix and SameSite)
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from hmac import compare_digest
from urllib.parse import urlsplit

from flask import Request, Response
from werkzeug.datastructures import Headers, LanguageAccept

from fhir_server.accounts.accounts import Accounts, to_origin
from fhir_server.settings import Settings
from fhir_server.smart.addresses import client_address, to_subscriber

HOME = "/auth/account"
AUTHORIZE = "/auth/authorize"
LANGUAGE = "fhir-language"
LANGUAGES = ("en", "fr")
_TOKEN = re.compile(r"[A-Za-z0-9_\-]{20,64}\Z")
_PATH = re.compile(r"/auth/[A-Za-z0-9/_\-.~%?&=+:;,@!$'()*]*\Z")
_LONGEST_NEXT = 2_000
_BROWSERS = ("Edg", "OPR", "Firefox", "Chrome", "Safari")
_NAMES = {"Edg": "Edge", "OPR": "Opera"}
_SYSTEMS = ("Android", "iPhone", "iPad", "Windows", "Mac OS X", "Linux")


@dataclass(frozen=True, slots=True)
class Cookies:
    """The names under which a deployment keeps its cookies; with https no other site can set them."""

    secure: bool

    @property
    def session(self) -> str:
        """The cookie of a sign-in."""
        return "__Host-fhir-session" if self.secure else "fhir-session"

    @property
    def visit(self) -> str:
        """The cookie of a browser that looks at a form: it gives no right, forms are bound to it."""
        return "__Host-fhir-visit" if self.secure else "fhir-visit"

    @property
    def language(self) -> str:
        """The cookie of the language that somebody has chosen."""
        return LANGUAGE

    def set(self, response: Response, name: str, value: str) -> None:
        """Keep a value in the browser until it is closed."""
        response.set_cookie(name, value, httponly=True, secure=self.secure, samesite="Lax", path="/")

    def drop(self, response: Response, name: str) -> None:
        """Have the browser forget a value."""
        response.delete_cookie(name, httponly=True, secure=self.secure, samesite="Lax", path="/")


@dataclass(frozen=True, slots=True)
class Browser:
    """What one request says of the browser that sends it. ``visit`` is new when the browser brought none.

    ``address`` is the network address, ``subscriber`` what attempts from there are counted by.
    """

    cookies: Cookies
    session: str
    visit: str
    new_visit: bool
    language: str
    chosen_language: bool
    address: str
    subscriber: str
    agent: str
    csrf: str

    def has_proof(self, given: str) -> bool:
        """Whether ``given`` is the token of a form that was made for this browser and this session."""
        return compare_digest(self.csrf.encode(), given.encode("utf-8", "surrogatepass"))


def cookies_of(settings: Settings) -> Cookies:
    """Return the cookies of a deployment."""
    return Cookies(settings.base_url.startswith("https://"))


def read_browser(request: Request, settings: Settings, accounts: Accounts, new_visit: str) -> Browser:
    """Return the browser of a request; ``new_visit`` is used when it brings no visit of its own."""
    cookies = cookies_of(settings)
    session, visit = (_token(request.cookies.get(name)) for name in (cookies.session, cookies.visit))
    known = visit or new_visit
    chosen = request.args.get("lang", "")
    address = client_address(request.environ, settings.trusted_proxies)
    return Browser(
        cookies=cookies,
        session=session,
        visit=known,
        new_visit=not visit,
        language=_language(chosen, request, settings),
        chosen_language=chosen in LANGUAGES,
        address=address,
        subscriber=to_subscriber(address),
        agent=describe_agent(request.headers.get("User-Agent", "")),
        csrf=accounts.sealer.digest("form", f"{known}|{session}")[:43],
    )


def chosen_language(cookies: Mapping[str, str]) -> str | None:
    """Return the language that somebody has chosen on one of our pages, None for who has not."""
    chosen = cookies.get(LANGUAGE)
    return chosen if chosen in LANGUAGES else None


def is_own_origin(headers: Headers | Mapping[str, str], host: str, base_url: str) -> bool:
    """Whether a request that changes something was sent by one of our pages, as far as the browser says."""
    if headers.get("Sec-Fetch-Site", "same-origin") not in ("same-origin", "none"):
        return False
    origin = headers.get("Origin")
    return origin is None or origin == to_origin(base_url)[0] or urlsplit(origin).netloc == host


def own_path(text: str) -> str:
    """Return a path of ours to go on to: what was asked for if it is one, else the account page.

    Never another site: no scheme, no host, no backslash, no dot segments.
    """
    path = urlsplit(text).path if len(text) <= _LONGEST_NEXT and _PATH.match(text) else ""
    if not path or "//" in path or any(part in (".", "..") for part in path.replace("%2e", ".").split("/")):
        return HOME
    return text


def describe_agent(header: str) -> str:
    """Return browser and system by name alone: enough to know one's own devices, too little to follow anybody."""
    browser = next((_NAMES.get(each, each) for each in _BROWSERS if f"{each}/" in header), "")
    system = next((each for each in _SYSTEMS if each in header), "")
    return ", ".join(part for part in (browser, system) if part)


def _token(value: str | None) -> str:
    return value if value is not None and _TOKEN.match(value) else ""


def _language(chosen: str, request: Request, settings: Settings) -> str:
    if chosen in LANGUAGES:
        return chosen
    known = chosen_language(request.cookies)
    return known if known is not None else _preferred(request.accept_languages, settings.language)


def _preferred(accepted: LanguageAccept, default: str) -> str:
    """Return the first of our languages, whatever its country: ``en-GB, fr`` is English."""
    wanted = (tag.partition("-")[0].lower() for tag, quality in accepted if quality > 0)
    return next((language for language in wanted if language in LANGUAGES), default)
