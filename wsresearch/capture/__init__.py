"""One capture directory on disk: written, sealed, read and checked; no network and no decision is here."""
