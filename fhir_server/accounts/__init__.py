"""The accounts of people: who they are, how they prove it, and for whom they may act.

Owns: accounts, passwords, second factors, sessions, the throttling of guesses, what an identity provider's claims make
of a person. Does not own: login pages and the OpenID Connect exchange (smart), tokens (smart), what a caller may do
(access). Reads and writes: the collections ``accounts``, ``sessions`` and ``throttles``; has tokens ended with their
account; reads Patient, Person and RelatedPerson, and creates the Practitioner of a professional who signs in first.
Spec: https://pages.nist.gov/800-63-4/sp800-63b.html, https://hl7.org/fhir/smart-app-launch/
"""
