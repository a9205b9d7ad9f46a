"""Projects: run a notebook as a reference execution, repeat it, and say what happened."""

from provcrt_kernel.runtime.errors import ProjectError
from provcrt_kernel.runtime.execution import CellRun, Environment, Execution, Repetition
from provcrt_kernel.runtime.project import Project

__all__ = ["CellRun", "Environment", "Execution", "Project", "ProjectError", "Repetition"]
