"""What a search means: one tree of conditions, and its two interpreters over one index document.

Owns: the grammar of search parameters, the index fields of a stored document and what they mean, compilation to
MongoDB filters, the matcher, page links. Does not own: who may see what (access), execution and indexes (storage).
Reads: the R4 definitions. Writes: nothing.

Index fields (``indexer.to_index``), each written and asked by one module of ``param_types`` so that they cannot drift:

    t   tokens, whole keys: ``Observation`` (the type itself), ``Observation.code|http://loinc.org|718-7``,
        ``Observation.code||718-7`` (any system), ``Observation.code|\\-|718-7`` (no system),
        ``Patient.identifier:of-type|system|code|value``, ``Observation.subject:identifier|system|value``,
        ``ValueSet.url|http://…``, ``Observation.code:present`` (has a value that leaves no other entry),
        ``Encounter:long`` (its primary date lasts over a day), ``Observation.value-quantity:range`` (an entry of it is
        no point, its ends differ)
    r   references: ``Observation.subject>Patient/42``, versioned, absolute, canonical with and without version
    s   strings, normalised: ``Patient.family:dupont``; e the same as written, for ``:exact`` (needs no index)
    f   fragments of strings, for ``:contains``: ``Patient~ontain``; w words, for ``_text``, ``_content`` and ``:text``:
        ``Observation+glucose`` of the content, ``Observation*glucose`` of the narrative
    v   texts without an index, looked into last: ``code: body height |``, ``_content: …``, ``_text: …``, long strings
    d   dates other than the primary one: ``{p, s, e}``, start included, end excluded, milliseconds of UTC; in ``d`` and
        ``s`` there are keys that join those of several parameters too (``combined``)
    n   numbers ``{p, lo, hi}``; q quantities ``{p, lo, hi, u, c, n}``: bounds as ``sortable`` texts, u system|code,
        c code, n unit; once more under ``Observation.value-quantity~g`` with bounds in UCUM's base units
    g   composites ``{p, k, v, w, …}``: p the key with the first component's code
        (``Observation.code-value-quantity$718-7``), k its system|code, v w u c n the second component (low, high,
        unit; code, system|code; start, end), v2 … the third
    nx, ny, nz  the point of ``Location.position`` in space, centimetres
    pt  the patient (``Patient/42``); ds, de the primary date, scalar and sortable; absent when there is none
    c   compartments (``Patient/42``); l security labels (``system|code``); x local references (``Type/id``)

Two more are no values of the resource: ``o``, who put it here, and ``cl``, the patients in whose closed records it lies
(``closed``). Whoever writes it sets them.

Spec: http://hl7.org/fhir/R4/search.html
"""
