"""What processes did: filter, supervisor, decode, spans of accesses; knows Linux, not Python sessions."""
