"""Binary in its native type, and large content (http://hl7.org/fhir/R4/binary.html#rest)."""

import base64
import hashlib

from tests.rest.fhir import Fhir, patient

PDF = b"%PDF-1.4 \x00\xff not really"


def test_a_binary_goes_in_and_out_in_its_native_type(fhir: Fhir) -> None:
    subject = fhir.create(patient())
    reply = fhir.post("Binary", PDF, Content_Type="application/pdf", X_Security_Context=f"Patient/{subject['id']}")
    assert reply.status == 201, reply.content
    id = reply.headers["Location"].split("/Binary/")[1].split("/")[0]
    native = fhir.get(f"Binary/{id}", Accept="application/pdf")
    assert native.content == PDF
    assert native.headers["Content-Type"] == "application/pdf"
    assert native.headers["X-Content-Type-Options"] == "nosniff"
    assert native.headers["Content-Disposition"].startswith("attachment")
    assert native.headers["X-Security-Context"] == f"Patient/{subject['id']}"
    resource = fhir.get(f"Binary/{id}").body
    assert base64.b64decode(resource["data"]) == PDF
    assert resource["securityContext"]["reference"] == f"Patient/{subject['id']}"


def test_a_binary_can_be_replaced_natively(fhir: Fhir) -> None:
    assert fhir.put("Binary/b", PDF, Content_Type="application/pdf").status == 201
    assert fhir.put("Binary/b", b"other", Content_Type="text/plain").status == 200
    assert fhir.get("Binary/b", Accept="*/*").content == b"other"
    assert fhir.get("Binary/b/_history/1", Accept="*/*").content == PDF


def test_a_binary_sent_as_fhir_stays_fhir(fhir: Fhir) -> None:
    binary = {"resourceType": "Binary", "contentType": "application/pdf", "data": base64.b64encode(PDF).decode()}
    id = fhir.create(binary)["id"]
    assert fhir.get(f"Binary/{id}", Accept="application/pdf").content == PDF


def test_native_content_for_another_type_is_refused(fhir: Fhir) -> None:
    assert fhir.post("Patient", PDF, Content_Type="application/pdf").status == 415


def test_large_content_comes_back_whole_and_stays_in_history(fhir: Fhir) -> None:
    content = hashlib.shake_128(b"large").digest(3_000_000)
    assert fhir.put("Binary/large", content, Content_Type="application/octet-stream").status == 201
    assert fhir.put("Binary/large", b"small", Content_Type="text/plain").status == 200
    assert fhir.get("Binary/large/_history/1", Accept="*/*").content == content
    assert fhir.get("Binary/large", Accept="*/*").content == b"small"
    assert len(fhir.get("Binary/large/_history").body["entry"]) == 2


def test_content_over_the_setting_is_refused(fhir_with: object) -> None:
    fhir: Fhir = fhir_with(max_attachment=1000)  # type: ignore[operator]
    reply = fhir.post("Binary", b"x" * 1100, Content_Type="text/plain")
    assert reply.status == 413
    data = base64.b64encode(b"x" * 1100).decode()
    photo = patient(photo=[{"contentType": "image/png", "data": data}])
    reply = fhir.post("Patient", photo)
    assert reply.status == 413
    assert reply.issues[0]["expression"] == ["Patient.photo[0].data"]
    assert fhir.post("Patient", patient(photo=[{"data": data[:800]}], name=[{"text": "y" * 900}])).status == 201
