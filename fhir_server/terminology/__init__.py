"""Which codes there are, which one subsumes which, and which of them a value set holds.

Owns: hierarchies of code systems, contents of value sets, their conditions in a search tree. Does not own: the search
tree's other nodes (search), who may see a stored resource (the repository's look-up answers for that). Reads: the R4
definitions, stored CodeSystem and ValueSet resources through the look-up that it is given. Writes: nothing.
What cannot be told completely is refused: half a value set would find half of the resources in silence.

Spec: http://hl7.org/fhir/R4/terminology-module.html
"""
