"""Random notebooks on our kernel and on a plain one, both forked from warm processes, and what differs."""
