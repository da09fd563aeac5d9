"""Results become versions: numbered once, pointed to by aliases, let through by gates, kept in the audit log."""
