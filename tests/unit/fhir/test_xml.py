"""XML is read strictly, by the definitions, and written in their order; narratives pass untouched."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_server.errors import Structure
from fhir_server.fhir import definitions
from fhir_server.fhir.decimals import FhirDecimal
from fhir_server.fhir.json import parse_json, to_json
from fhir_server.fhir.xml import parse_xml, to_xml

FHIR = "http://hl7.org/fhir"
XHTML = "http://www.w3.org/1999/xhtml"


def patient(inside, namespace=FHIR):
    return f'<Patient xmlns="{namespace}">{inside}</Patient>'.encode()


def issues_of(data):
    with pytest.raises(Structure) as caught:
        parse_xml(data)
    return caught.value.issues


def faults_of(inside):
    return [(issue.expression[0], issue.diagnostics) for issue in issues_of(patient(inside))]


def write_issues_of(resource):
    with pytest.raises(Structure) as caught:
        to_xml(resource)
    return [issue.expression[0] for issue in caught.value.issues]


# Generated resources


TEXTS = st.text(
    st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="\ufffe\uffff") | st.sampled_from("\n\t\r"),
    min_size=1,
)
DECIMALS = st.from_regex(r"-?(0|[1-9][0-9]{0,20})\.[0-9]{1,20}", fullmatch=True).filter(str.isascii).map(FhirDecimal)
PRIMITIVES = {
    "boolean": st.booleans(),
    "integer": st.integers(-(2**31), 2**31 - 1),
    "positiveInt": st.integers(1, 2**31 - 1),
    "unsignedInt": st.integers(0, 2**31 - 1),
    "decimal": DECIMALS | st.integers(-999, 999),
}
NARRATIVES = st.sampled_from(
    [f'<div xmlns="{XHTML}">a &amp; b</div>', f"<div xmlns='{XHTML}'><br/>\r\n<!-- x --></div>"]
)


@st.composite
def values(draw, code, depth):
    """Draw a value of a datatype or backbone element, with some of its properties."""
    if code == "xhtml":
        return draw(NARRATIVES)
    if definitions.is_primitive(code):
        return draw(PRIMITIVES.get(code, TEXTS))
    if code == "Resource":
        return draw(resources(depth - 1))
    return draw(members(code, depth))


@st.composite
def members(draw, type_name, depth):
    """Draw the properties of a type, at least one; primitives now and then with an id or an extension."""
    properties = definitions.structure(type_name).properties
    usable = sorted(key for key, (_, code) in properties.items() if depth > 0 or definitions.is_primitive(code))
    result = {}
    for key in draw(
        st.lists(st.sampled_from(usable), min_size=1, max_size=4, unique_by=lambda key: properties[key][0].path)
    ):
        element, code = properties[key]
        many = element.max is None or element.max > 1
        value = draw(values(code, depth - 1))
        result[key] = [value, draw(values(code, depth - 1))] if many else value
        if definitions.is_primitive(code) and code != "xhtml" and not element.xml_attribute and draw(st.booleans()):
            extra = draw(
                st.sampled_from([{"id": "a"}, {"extension": [{"url": "urn:x", "valueDecimal": FhirDecimal("1.0")}]}])
            )
            result[f"_{key}"] = [None, extra] if many else extra
    return result


@st.composite
def resources(draw, depth=3):
    name = draw(st.sampled_from(["Patient", "Observation", "Bundle", "Parameters", "Questionnaire", "Basic"]))
    return {"resourceType": name} | draw(members(name, depth))


def ordered(value):
    if isinstance(value, dict):
        return {key: ordered(value[key]) for key in sorted(value)}
    return [ordered(item) for item in value] if isinstance(value, list) else value


@given(resources(), st.booleans())
def test_json_and_xml_agree_on_generated_resources(resource, pretty):
    again = parse_xml(to_xml(resource, pretty))
    assert to_json(ordered(again)) == to_json(ordered(resource))
    assert parse_json(to_json(resource)) == resource


@given(
    st.recursive(
        st.none() | st.text() | st.integers(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
    )
)
def test_nothing_makes_writing_crash(content):
    for resource in (content, {"resourceType": content}, {"resourceType": "Patient", "name": content, "_id": content}):
        try:
            to_xml(resource)
        except Structure as error:
            assert error.issues  # noqa: PT017


@given(st.binary() | st.text("<>/=\"' &;!?[]-xmlns:Patientvalue").map(str.encode))
def test_nothing_makes_reading_crash(data):
    assert issues_of(data)
    assert issues_of(patient("") + data)


# Writing


def test_elements_are_written_in_the_official_order():
    resource = {"resourceType": "Patient", "birthDate": "1970", "name": [{"given": ["A"], "use": "usual"}], "id": "1"}
    expected = '<id value="1"/><name><use value="usual"/><given value="A"/></name><birthDate value="1970"/>'
    assert to_xml(resource) == b'<?xml version="1.0" encoding="UTF-8"?>' + patient(expected)


def test_pretty_xml_is_indented():
    expected = f'<?xml version="1.0" encoding="UTF-8"?>\n<Patient xmlns="{FHIR}">\n  <id value="1"/>\n</Patient>\n'
    assert to_xml({"resourceType": "Patient", "id": "1"}, pretty=True).decode() == expected


def test_everything_unknown_is_named_at_once():
    resource = {
        "resourceType": "Patient",
        "nickname": "x",
        "name": [{"given": "not a list", "middle": "x"}],
        "active": {"a": 1},
        "_contact": [],
        "gender": None,
        "contact": [1],
        "Jean Dupont": 1,
    }
    assert write_issues_of(resource) == [
        "Patient.nickname",
        "Patient.contact",
        "Patient",
        "Patient.active",
        "Patient.name[0].middle",
        "Patient.name[0].given",
        "Patient.gender",
        "Patient.contact[0]",
    ]


@pytest.mark.parametrize(
    "resource", [{}, {"resourceType": "Person2"}, {"resourceType": 1}, {"resourceType": "DomainResource"}]
)
def test_what_is_no_resource_is_refused(resource):
    assert write_issues_of(resource) == ["Resource"]


def test_a_contained_resource_of_no_type_is_named():
    assert write_issues_of({"resourceType": "Patient", "contained": [{"id": "1"}]}) == ["Patient.contained[0]"]


@pytest.mark.parametrize("character", ["\x00", "\x0b", "\ud800", "\ufffe"])
def test_characters_that_xml_cannot_carry_are_refused(character):
    with pytest.raises(Structure):
        to_xml({"resourceType": "Patient", "language": character})


def test_white_space_and_markup_in_values_survive():
    resource = {"resourceType": "Patient", "language": " a\n\t\r\n<b> & \"c\" 'd' ]]> &amp; "}
    assert parse_xml(to_xml(resource)) == resource


# Narratives


def with_div(div):
    return {"resourceType": "Patient", "text": {"status": "generated", "div": div}}


@pytest.mark.parametrize(
    "div",
    [
        f'<div xmlns="{XHTML}"/>',
        f'<div xmlns="{XHTML}"></div >',
        f"<div   xmlns = '{XHTML}'\n title='a>b'>x</div>",
        f'<div xmlns="{XHTML}"><p>é &#233; &amp; &lt;</p><br /><img alt="" src="#a"></img>\r\n\t</div>',
        f'<div xmlns="{XHTML}"><!-- kept --><![CDATA[a < b]]></div>',
        f'<div xmlns="{XHTML}"><div xmlns="{XHTML}">nested<div/></div></div>',
    ],
)
def test_a_narrative_passes_character_for_character(div):
    assert parse_xml(to_xml(with_div(div))) == with_div(div)
    assert parse_xml(to_xml(with_div(div), pretty=True)) == with_div(div)


def test_a_narrative_that_leans_on_outer_prefixes_is_made_to_stand_alone():
    data = (
        f'<Patient xmlns="{FHIR}" xmlns:h="{XHTML}"><text><status value="generated"/>'
        "<h:div title='t'>a<h:b>c</h:b>d<!-- e -->f</h:div></text></Patient>"
    )
    assert parse_xml(data.encode())["text"]["div"] == f'<div xmlns="{XHTML}" title="t">a<b>c</b>df</div>'


@pytest.mark.parametrize("uri", ["a b", "%%", "\u00e9", "http://[", "urn:x"])
def test_strange_namespaces_around_a_narrative_do_no_harm(uri):
    div = f'<p:div xmlns:p="{XHTML}"><q:b q:c="1"/></p:div>'
    data = f'<Patient xmlns="{FHIR}" xmlns:q="{uri}"><text><status value="generated"/>{div}</text></Patient>'
    try:
        assert "<div" in parse_xml(data.encode())["text"]["div"]
    except Structure as error:
        assert error.issues  # noqa: PT017


def test_a_narrative_with_prefixes_that_is_too_much_for_lxml_is_refused():
    text = f'<Patient xmlns="{FHIR}" xmlns:h="{XHTML}"><text><h:div title="{"a" * 10_000_001}"/></text></Patient>'
    assert len(issues_of(text.encode())) == 1


def test_a_comment_before_any_element_of_a_narrative_keeps_the_text_after_it():
    data = f'<Patient xmlns="{FHIR}" xmlns:h="{XHTML}"><text><h:div>a<!-- b -->c</h:div></text></Patient>'
    assert parse_xml(data.encode())["text"]["div"] == f'<div xmlns="{XHTML}">ac</div>'


def test_a_div_in_the_wrong_place_is_an_unknown_element():
    assert faults_of(f'<div xmlns="{XHTML}"/>')[0][0] == "Patient.div"


def test_a_narrative_nested_too_deeply_is_refused():
    assert issues_of(patient(f'<text><div xmlns="{XHTML}">{"<b>" * 300}{"</b>" * 300}</div></text>'))


def test_an_empty_value_is_reported_even_with_an_id():
    assert faults_of('<language id="a" value=""/>')[0][0] == "Patient.language"


def test_an_attribute_of_the_wrong_type_cannot_be_written():
    assert write_issues_of({"resourceType": "Basic", "extension": [{"url": 1}]}) == ["Basic.extension[0].url"]


def test_html_entities_and_a_missing_namespace_are_made_xml():
    again = parse_xml(to_xml(with_div("<div>a&nbsp;b &amp; c</div>")))
    assert again["text"]["div"] == f'<div xmlns="{XHTML}">a\u00a0b &amp; c</div>'


@pytest.mark.parametrize(
    "div",
    [
        "",
        "text",
        "<div>",
        f'<p xmlns="{XHTML}"/>',
        f'<div xmlns="{XHTML}"/><div xmlns="{XHTML}"/>',
        f'<div xmlns="{XHTML}"/></text><id value="2"/><text>',
        f'<!DOCTYPE div [<!ENTITY a "b">]><div xmlns="{XHTML}">&a;</div>',
        f'<?xml version="1.0"?><div xmlns="{XHTML}"/>',
        f'<div xmlns="{XHTML}"><?php x ?></div>',
        f'<div xmlns="{XHTML}">&unknown;</div>',
        '<div xmlns="http://www.w3.org/2000/svg"/>',
        "<b>" * 1000,
        f'<div xmlns="{XHTML}">' + "<b>" * 1000 + "</b>" * 1000 + "</div>",
    ],
)
def test_a_narrative_that_is_no_div_cannot_be_written(div):
    assert write_issues_of(with_div(div)) == ["Patient.text.div"]


# Reading


def test_attributes_extensions_and_gaps_become_json():
    data = patient(
        '<name id="n"><given value="A"/><given id="g"><extension url="urn:x"><valueDecimal value="1.0"/></extension>'
        '</given></name><active id="a" value="true"/><multipleBirthInteger value="2"/>'
    )
    name = {
        "id": "n",
        "given": ["A", None],
        "_given": [None, {"id": "g", "extension": [{"url": "urn:x", "valueDecimal": FhirDecimal("1.0")}]}],
    }
    issues = faults_of(data.decode().partition(">")[2].removesuffix("</Patient>"))
    assert issues == [("Patient.active", f"line 1, column {data.index(b'<active') + 1}")]
    assert parse_xml(patient('<active id="a" value="true"/>'))["_active"] == {"id": "a"}
    assert parse_xml(data.replace(b'<active id="a" value="true"/>', b""))["name"] == [name]


def test_every_fault_is_reported_at_once_with_its_line():
    inside = """
<id value="1" other="x"/>
<meta>text</meta>
<active value="yes"/>
<name><given/><unknown value="x"/></name>
<gender value="male"/><gender value="male"/>
<birthDate xmlns="urn:other" value="1970"/>
<deceasedBoolean value=""/>
<multipleBirthInteger value="1.0"/>
<contact><b xmlns="http://www.w3.org/1999/xhtml"/></contact>
<identifier value="x"/>"""
    assert [(path, where.split(",")[0]) for path, where in faults_of(inside)] == [
        ("Patient.id", "line 2"),
        ("Patient.meta", "line 3"),
        ("Patient.meta", "line 3"),
        ("Patient.active", "line 4"),
        ("Patient.name[0].given[0]", "line 5"),
        ("Patient.name[0].unknown", "line 5"),
        ("Patient.gender", "line 6"),
        ("Patient.birthDate", "line 7"),
        ("Patient.deceasedBoolean", "line 8"),
        ("Patient.deceasedBoolean", "line 8"),
        ("Patient.multipleBirthInteger", "line 9"),
        ("Patient.contact[0].b", "line 10"),
        ("Patient.identifier", "line 11"),
        ("Patient.identifier[0]", "line 11"),
    ]


@pytest.mark.parametrize("number", ["6.30", "1.0e2", "-0", "100", "1" * 40, "0." + "1" * 400])
def test_decimals_keep_their_digits(number):
    data = f'<Basic xmlns="{FHIR}"><extension url="urn:x"><valueDecimal value="{number}"/></extension></Basic>'
    assert to_json(parse_xml(data.encode())["extension"][0]["valueDecimal"]).decode() == number
    assert to_xml(parse_xml(data.encode())).endswith(data.encode())


@pytest.mark.parametrize("number", ["NaN", "1e999999", "", "1,0", " 1", "0x1"])
def test_what_is_no_decimal_is_refused(number):
    data = f'<Basic xmlns="{FHIR}"><extension url="urn:x"><valueDecimal value="{number}"/></extension></Basic>'
    assert issues_of(data.encode())[-1].expression == ("Basic.extension[0].valueDecimal",)


def test_resources_within_are_read_and_counted():
    entry = '<entry><resource><Patient><id value="1"/></Patient>{}</resource></entry>'
    bundle = f'<Bundle xmlns="{FHIR}">{entry}</Bundle>'
    assert parse_xml(bundle.format("").encode())["entry"] == [{"resource": {"resourceType": "Patient", "id": "1"}}]
    assert issues_of(bundle.format("<Patient/>").encode())[0].expression == ("Bundle.entry[0].resource",)
    assert issues_of(bundle.format("").replace("Patient", "Robot").encode())[0].expression == (
        "Bundle.entry[0].resource",
    )


def test_comments_are_dropped_and_a_schema_location_is_tolerated():
    data = (
        f'<!-- a --><Patient xmlns="{FHIR}" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" '
        f'xsi:schemaLocation="{FHIR} patient.xsd"><!-- b --><id value="1"/></Patient>'
    )
    assert parse_xml(data.encode()) == {"resourceType": "Patient", "id": "1"}


@pytest.mark.parametrize(
    "data",
    [
        patient("", "urn:other"),
        b'<Patient><id value="1"/></Patient>',
        f'<Robot xmlns="{FHIR}"/>'.encode(),
        f'<Patient xmlns="{FHIR}"/>'.encode(),
        f'<div xmlns="{XHTML}"/>'.encode(),
    ],
)
def test_other_roots_are_refused(data):
    assert len(issues_of(data)) == 1


def test_no_message_quotes_the_content():
    inside = '<id value="SECRET" SECRET="1"/>SECRET<active value="SECRET"/><birthDate value="&SECRET;"/>'
    assert "SECRET" not in repr(issues_of(patient(inside)))
    assert "SECRET" not in repr(issues_of(patient(inside.replace("&", ""))))


# Attacks


@pytest.mark.parametrize(
    "prolog",
    [
        '<!DOCTYPE Patient [<!ENTITY x SYSTEM "file:///etc/passwd">]>',
        '<!DOCTYPE Patient SYSTEM "http://127.0.0.1:9/x.dtd">',
        '<!DOCTYPE Patient PUBLIC "-//x" "http://127.0.0.1:9/x.dtd">',
        '<!DOCTYPE Patient [<!ENTITY % p SYSTEM "http://127.0.0.1:9/p">%p;]>',
        '<!DOCTYPE Patient [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;"><!ENTITY c "&b;&b;&b;">]>',
        "<!DOCTYPE Patient>",
    ],
)
def test_document_types_and_entities_are_refused(prolog):
    (issue,) = issues_of(prolog.encode() + patient('<id value="&x;"/>'))
    assert "Document type" in issue.text.en


def test_an_entity_without_a_declaration_is_malformed():
    assert "undefined entity" in issues_of(patient('<id value="&nbsp;"/>'))[0].diagnostics


def test_xinclude_is_an_unknown_element_like_any_other():
    inside = '<xi:include xmlns:xi="http://www.w3.org/2001/XInclude" href="file:///etc/passwd" parse="text"/>'
    assert faults_of(inside)[0][0] == "Patient.include"


@pytest.mark.parametrize("data", [b'<?xml-stylesheet href="x"?>' + patient(""), patient("<?php x ?>")])
def test_processing_instructions_are_refused(data):
    assert "Processing" in issues_of(data)[0].text.en


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32", "utf-7", "iso-8859-1", "ebcdic-cp-us"])
def test_other_encodings_are_refused(encoding):
    text = f'<?xml version="1.0" encoding="{encoding}"?>' + patient('<id value="1"/>').decode()
    assert issues_of(text.encode("cp500" if "ebcdic" in encoding else encoding))


def test_utf_8_is_read_with_and_without_mark_and_declaration():
    data = patient('<name><family value="é"/></name>'.encode().decode())
    for prefix in (b"", b"\xef\xbb\xbf", b'<?xml version="1.0" encoding="utf-8"?>', b"<?xml version='1.0'?>"):
        assert parse_xml(prefix + data)["name"][0]["family"] == "é"
    assert issues_of(data.decode().encode("latin-1"))


def test_depth_is_bounded():
    assert "nested" in issues_of(b"<a>" * 100_000)[0].text.en
    extension = '<extension url="urn:x">' * 63 + "</extension>" * 63
    assert parse_xml(patient(extension))
    assert issues_of(patient('<extension url="urn:x">' * 64 + "</extension>" * 64))


def test_size_alone_is_no_danger():
    resource = parse_xml(patient(f'<language value="{"a" * 20_000_000}"/>'))
    assert len(resource["language"]) == 20_000_000
    assert len(issues_of(patient('<x value="1"/>' * 50_000))) == 100
