"""Resource types by what they are to a policy: public knowledge, the directory, the record, the trail."""

DIRECTORY = frozenset({
    "Practitioner", "PractitionerRole", "Organization", "OrganizationAffiliation", "Location", "HealthcareService",
    "Endpoint", "InsurancePlan", "Medication", "MedicationKnowledge", "Substance", "DeviceDefinition", "Schedule",
    "Slot",
})  # fmt: skip
"""Who works where, when, with what: for everybody who is known."""

DEFINITIONS = frozenset({
    "ActivityDefinition", "CapabilityStatement", "ChargeItemDefinition", "CodeSystem", "CompartmentDefinition",
    "ConceptMap", "EventDefinition", "ExampleScenario", "GraphDefinition", "ImplementationGuide", "Library", "Measure",
    "MessageDefinition", "NamingSystem", "ObservationDefinition", "OperationDefinition", "PlanDefinition",
    "Questionnaire", "ResearchDefinition", "ResearchElementDefinition", "SearchParameter", "SpecimenDefinition",
    "StructureDefinition", "StructureMap", "TerminologyCapabilities", "TestScript", "ValueSet",
})  # fmt: skip
"""What resources are made of, and what is common knowledge: for everybody who is known."""

PUBLIC = DIRECTORY | DEFINITIONS

TRAIL = frozenset({"AuditEvent", "Provenance"})
"""What tells of others' deeds: written once, changed by nobody."""

RIGHTS = frozenset({"Consent", "CareTeam", "RelatedPerson", "Person", "Patient"})
"""What decides who may do what: never changed by who gains by it."""

CONVERSATIONS = frozenset({"Communication", "CommunicationRequest"})
"""Between those who take part, nobody else."""

APPOINTMENTS = frozenset({"Appointment", "AppointmentResponse"})

OF_THE_HOLDER = frozenset({
    "AllergyIntolerance", "Appointment", "AppointmentResponse", "Communication", "CommunicationRequest",
    "Condition", "DeviceUseStatement", "DocumentManifest", "DocumentReference", "FamilyMemberHistory", "Goal",
    "Immunization", "List", "Media", "MedicationStatement", "NutritionOrder", "Observation", "Procedure",
    "QuestionnaireResponse", "Task",
})  # fmt: skip
"""What holders add to their own records: documents, profile, measurements, messages, appointments."""
