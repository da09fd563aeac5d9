"""The quantile function of the normal distribution becomes operations of an ONNX graph in float64.

The rational approximations are those of ``ndtri`` in the Cephes library (S. Moshier, netlib.org/cephes), which scipy,
and so scikit-learn, calls.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mlnb.model.onnx_graph import Graph

#: How near 0 and 1 scikit-learn lets a quantile come.
BOUND = 1e-7
_CENTRE_P = (
    -5.99633501014107895267e1,
    9.80010754185999661536e1,
    -5.66762857469070293439e1,
    1.39312609387279679503e1,
    -1.23916583867381258016e0,
)
_CENTRE_Q = (
    1.0,
    1.95448858338141759834e0,
    4.67627912898881538453e0,
    8.63602421390890590575e1,
    -2.25462687854119370527e2,
    2.00260212380060660359e2,
    -8.20372256168333339912e1,
    1.59056225126211695515e1,
    -1.18331621121330003142e0,
)
_TAIL_P = (
    4.05544892305962419923e0,
    3.15251094599893866154e1,
    5.71628192246421288162e1,
    4.40805073893200834700e1,
    1.46849561928858024014e1,
    2.18663306850790267539e0,
    -1.40256079171354495875e-1,
    -3.50424626827848203418e-2,
    -8.57456785154685413611e-4,
)
_TAIL_Q = (
    1.0,
    1.57799883256466749731e1,
    4.53907635128879210584e1,
    4.13172038254672030440e1,
    1.50425385692907503408e1,
    2.50464946208309415979e0,
    -1.42182922854787788574e-1,
    -3.80806407691578277194e-2,
    -9.33259480895457427372e-4,
)
_ROOT_OF_TWO_PI = 2.50662827463100050242
_ONE = np.ones(1)


def normal_quantile(graph: Graph, tensor: str) -> str:
    """Append ``scipy.stats.norm.ppf``, its argument no nearer to 0 or 1 than 1e-7, as QuantileTransformer bounds it.

    The tail's approximation holds for arguments above exp(-32), so Cephes' third one is never reached.
    """
    bound = np.array([BOUND - np.spacing(1.0)])
    inside = graph.add("Min", graph.add("Max", tensor, bound), 1 - bound)
    upper = graph.add("Greater", inside, np.array([1 - np.exp(-2)]))
    lower = graph.add("Where", upper, graph.add("Sub", _ONE, inside), inside)
    half = graph.add("Sub", lower, np.array([0.5]))
    square = graph.add("Mul", half, half)
    ratio = graph.add(
        "Div", graph.add("Mul", square, _polynomial(graph, square, _CENTRE_P)), _polynomial(graph, square, _CENTRE_Q)
    )
    centre = graph.add("Add", half, graph.add("Mul", half, ratio))
    centre = graph.add("Mul", centre, np.array([_ROOT_OF_TWO_PI]))
    root = graph.add("Sqrt", graph.add("Mul", graph.add("Log", lower), np.array([-2.0])))
    first = graph.add("Sub", root, graph.add("Div", graph.add("Log", root), root))
    turned = graph.add("Div", _ONE, root)
    second = graph.add(
        "Div", graph.add("Mul", turned, _polynomial(graph, turned, _TAIL_P)), _polynomial(graph, turned, _TAIL_Q)
    )
    tail = graph.add("Sub", first, second)
    tail = graph.add("Where", upper, tail, graph.add("Neg", tail))
    found = graph.add("Where", graph.add("Greater", lower, np.array([np.exp(-2)])), centre, tail)
    return graph.add("Where", graph.add("IsNaN", tensor), tensor, found)


def _polynomial(graph: Graph, tensor: str, coefficients: Sequence[float]) -> str:
    found = graph.add("Mul", tensor, np.array([coefficients[0]]))
    for one in coefficients[1:-1]:
        found = graph.add("Mul", graph.add("Add", found, np.array([one])), tensor)
    return graph.add("Add", found, np.array([coefficients[-1]]))
