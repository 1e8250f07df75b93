"""A personal health record server on HL7 FHIR R4 (4.0.1): http://hl7.org/fhir/R4/."""

SOFTWARE_VERSION = "0.1.0"
SOFTWARE_DATE = "2026-11-23"
