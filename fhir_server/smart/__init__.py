"""The SMART authorization server: who may act for whom through which app, and the tokens that say so.

Owns: clients, grants, codes, tokens, signing keys, the pages of consent. Does not own: accounts and logins (accounts),
what a token may touch (access). Reads and writes: the collections that begin with ``smart_``.
Spec: https://hl7.org/fhir/smart-app-launch/, https://profiles.ihe.net/ITI/IUA/
"""
