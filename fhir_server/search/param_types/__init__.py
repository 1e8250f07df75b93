"""One module per search parameter type, each with both sides of it: what is indexed and how it is asked.

Every module: ``build_extractor`` (a FHIRPath value → index entries), ``parse`` (a query value → a leaf),
``to_filter`` (leaf → MongoDB), ``matches`` (leaf and index document → yes or no).
Owns: the form of the index entries. Does not own: the grammar around a value (parser), the tree (ast).
Reads and writes: nothing.
Spec: http://hl7.org/fhir/R4/search.html#ptypes
"""
