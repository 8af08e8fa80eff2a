"""A simulated company: its customers, items and invoices, and the edits made to them."""

from qbo_simulator.company.books import Company, CompanySize

__all__ = ["Company", "CompanySize"]
