"""Values become bytes that last: artifacts, codecs, manifests, signatures, and the ledger."""
