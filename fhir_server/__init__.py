"""A personal health record server on HL7 FHIR R4 (4.0.1): http://hl7.org/fhir/R4/."""
