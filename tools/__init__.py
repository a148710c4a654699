"""Programs for those who work on pyiocp; none of them is part of the wheel."""
