"""Narratives: what R4 allows passes, what could act in a browser does not."""

import pytest

from fhir_server.validation.narrative import XHTML, check_narrative

ALLOWED = [
    "plain text",
    "",
    "<p>a &amp; b &#160; <b>c</b><br/></p>",
    '<table border="1"><tr><td colspan="2" style="color: red; width: 2px">x</td></tr></table>',
    '<a href="http://example.org/a?b=c:d#e">x</a><a name="top"/><a href="#top">x</a><a href="Patient/1">x</a>',
    '<a href="mailto:a@example.org">x</a><a href="tel:+32">x</a><a href="urn:uuid:1">x</a>',
    '<img src="data:image/png;base64,AAAA" alt="x"/><img src="icon.png"/><img src="#picture"/>',
    '<p style="background-image: url(data: image/png;base64,AA//AA)">x</p><p style="background: url(a.png)">x</p>',
    "<!-- a comment --><p>x</p>",
    '<p xml:lang="fr" lang="fr" title="é">x</p>',
]

FORBIDDEN = [
    "<script>alert(1)</script>",
    '<p onclick="alert(1)">x</p>',
    '<a href="javascript:alert(1)">x</a>',
    '<a href="JaVa\tScript:alert(1)">x</a>',
    '<a href="&#1;javascript:alert(1)">x</a>',
    '<a href="java&#115;cript&#58;alert(1)">x</a>',
    '<a href=" &#x200b;javascript:alert(1)">x</a>',
    '<a href="vbscript:x">x</a>',
    '<a href="data:text/html,x">x</a>',
    '<a href="blob:x">x</a>',
    '<img src="javascript:x"/>',
    '<img src="data:text/html;base64,AAAA"/>',
    '<img src="data:image/png"/>',
    '<blockquote cite="javascript:x">x</blockquote>',
    '<p style="width: expression(alert(1))">x</p>',
    '<p style="background: url(http://example.org/track)">x</p>',
    "<p style=\"background: url( '//example.org/track')\">x</p>",
    '<p style="background: u\\72l(x)">x</p>',
    '<p style="/**/color: red">x</p>',
    '<p style="-moz-binding: x">x</p>',
    '<iframe src="x"/>',
    "<form><input/></form>",
    "<style>p {}</style>",
    '<svg xmlns="http://www.w3.org/2000/svg"/>',
    '<a xmlns:l="http://www.w3.org/1999/xlink" l:href="javascript:x">x</a>',
    '<x:script xmlns:x="http://www.w3.org/1999/xhtml">x</x:script>',
    '<p xmlns="">x</p>',
    "<![CDATA[><img src=x onerror=alert(1)>]]>",
    "<!--><img src=x onerror=alert(1)>-->",
    "<!--a--!><img src=x onerror=alert(1)>-->",
    "<?php x ?>",
    "&nbsp;",
    "<p>",
    "\x00",
]

NO_DIV = [
    "x",
    "",
    "<div>x</div>",
    f'<p xmlns="{XHTML}">x</p>',
    f'<div xmlns="{XHTML}">x</div><div xmlns="{XHTML}">y</div>',
    f'<!-- before --><div xmlns="{XHTML}">x</div>',
    f'<div xmlns="{XHTML}">x</div><!-- after -->',
    f'<div xmlns="{XHTML}">x</div>tail',
    f'<!DOCTYPE div><div xmlns="{XHTML}">x</div>',
    f'<!DOCTYPE d [<!ENTITY a "b">]><div xmlns="{XHTML}">&a;</div>',
    f'<?xml version="1.0"?><div xmlns="{XHTML}">x</div>',
]


@pytest.mark.parametrize("content", ALLOWED)
def test_what_the_specification_allows_passes(content: str) -> None:
    assert check_narrative(f'<div xmlns="{XHTML}">{content}</div>') is None


@pytest.mark.parametrize("content", FORBIDDEN)
def test_what_could_act_or_is_not_well_formed_is_refused(content: str) -> None:
    text = check_narrative(f'<div xmlns="{XHTML}">{content}</div>')
    assert text is not None
    assert "alert" not in text.en + text.fr


@pytest.mark.parametrize("xhtml", NO_DIV)
def test_anything_but_one_div_of_xhtml_is_refused(xhtml: str) -> None:
    assert check_narrative(xhtml) is not None


def test_a_div_with_a_prefix_or_attributes_is_a_div() -> None:
    assert check_narrative(f'<h:div xmlns:h="{XHTML}"><h:p>x</h:p></h:div>') is None
    assert check_narrative(f'<div class="a" id="b" xmlns="{XHTML}">x</div>') is None
