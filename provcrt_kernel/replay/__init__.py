"""Records: look up, replay, record. The one place where a skip is decided."""
