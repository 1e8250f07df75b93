"""Every function by its name, ``is``, ``as`` and ``ofType`` excepted (``compiler``)."""

from collections.abc import Mapping

from fhir_server.fhir.fhirpath.functions import conversion, existence, fhir, filtering, math, strings, subsetting, tree
from fhir_server.fhir.fhirpath.functions.function import Function

FUNCTIONS: Mapping[str, Function] = {
    **existence.FUNCTIONS,
    **filtering.FUNCTIONS,
    **subsetting.FUNCTIONS,
    **conversion.FUNCTIONS,
    **strings.FUNCTIONS,
    **math.FUNCTIONS,
    **tree.FUNCTIONS,
    **fhir.FUNCTIONS,
}
