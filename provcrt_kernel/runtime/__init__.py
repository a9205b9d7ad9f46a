"""Projects and their executions: exec, repeat, show."""
