"""The pages on which people sign in and look after their account, at ``/auth/login`` and ``/auth/account``.

Owns: these pages, their cookies, the OpenID Connect exchange with Pro Santé Connect and FranceConnect. Does not own:
who is let in (accounts), what an app is granted (the rest of smart). Reads and writes: what accounts does, and the
collection ``sign_ins``. Spec: https://pages.nist.gov/800-63-4/sp800-63b.html, https://owasp.org/www-project-secure-headers/
"""
