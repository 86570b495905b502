"""An experiment, from what is asked for to the settings files and the plan that follow from it.

::

    asked     options or a YAML file: which systems, contexts, seeds, fusions ...
    settings  the settings files that those words name, with their bases and overrides
    fusions   which systems are fused, and how
    work      all of it together: the plan, checks, and what is written
"""
