"""Implicit process rewards (Yuan et al. 2024): `method` is the paper's, `bank` the
solutions that are judged, `rivals` and `arms` what it is compared with, `scores` and
`experiment` the test of its claims.
"""
