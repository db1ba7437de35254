"""Governance: signed releases, lineage, licences, gates, quarantine."""
