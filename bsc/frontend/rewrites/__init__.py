"""Operators in other words: what a model says by other operators becomes Conv, Gemm and MatMul with constant weights.

A rule is a function of a `Builder`, registered in `bsc.frontend.rewrite.RULES` by the operator it is for. It returns
the values that take the place of the node's outputs, None if there is nothing to do, or why the node stays digital.
"""
