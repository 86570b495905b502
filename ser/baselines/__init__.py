"""Systems to compare with: the majority class, and linear SVMs on openSMILE's functionals."""
