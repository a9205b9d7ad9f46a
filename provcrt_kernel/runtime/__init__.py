"""Projects: contain a run of a command or a notebook, repeat it, change it, and say what happened."""

from provcrt_kernel.runtime.errors import ProjectError
from provcrt_kernel.runtime.execution import CellRun, Commanded, Environment, Execution, Repetition
from provcrt_kernel.runtime.project import Project

__all__ = ["CellRun", "Commanded", "Environment", "Execution", "Project", "ProjectError", "Repetition"]
