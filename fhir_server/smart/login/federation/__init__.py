"""Signing in through Pro Santé Connect and FranceConnect: the relying party's side of OpenID Connect.

Owns: the authorization request, the exchange of the code, the verification of what comes back. Does not own: whose
account it is (accounts). Reads and writes: the collection ``sign_ins``, where a request waits for its answer.
Spec: https://openid.net/specs/openid-connect-core-1_0.html, https://www.rfc-editor.org/rfc/rfc9700
"""
