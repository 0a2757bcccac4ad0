"""Differentiation of small functions, worked out step by step, and finite differences to check it.

`trace` makes a `Program` of a function; its sweeps give tangents, adjoints and both Jacobians, and
the tables show them as a sheet of exercises would.
"""

from sbi_kit.autodiff.program import Program as Program
from sbi_kit.autodiff.tables import adjoint_table as adjoint_table
from sbi_kit.autodiff.tables import jacobian_table as jacobian_table
from sbi_kit.autodiff.tables import tangent_table as tangent_table
from sbi_kit.autodiff.tables import worksheet as worksheet
from sbi_kit.autodiff.tracing import trace as trace
from sbi_kit.differences import finite_differences as finite_differences
