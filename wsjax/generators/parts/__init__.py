"""Parts of generators: couplings, ODE solvers, schedules, guidance, transport."""
