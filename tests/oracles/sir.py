"""The chain-binomial epidemic again: all epidemics at a time, and one in plain Python."""

import math

import numpy as np


def vectorised(theta, rng, n, *, population=1_000, initial_infected=1, dt=0.1, imports=0.5):
    """Shares (b, n, 3) for beta, gamma (b, 2): every step of all epidemics at once."""
    beta, gamma = np.asarray(theta, dtype=float).T
    people = np.empty((n, 3, len(beta)), dtype=np.int64)
    people[0] = np.array([population - initial_infected, initial_infected, 0])[:, None]
    for t in range(n - 1):
        susceptible, infected, recovered = people[t]
        rate = beta * (infected + imports) / population
        infections = rng.binomial(susceptible, 1 - np.exp(-rate * dt))
        recoveries = rng.binomial(infected, 1 - np.exp(-gamma * dt))
        people[t + 1, 0] = susceptible - infections
        people[t + 1, 1] = infected + infections - recoveries
        people[t + 1, 2] = recovered + recoveries
    return people.transpose(2, 0, 1) / population


def loop(theta_row, rng, n, *, population=1_000, initial_infected=1, dt=0.1, imports=0.5):
    """Shares (n, 3) for one beta and gamma."""
    beta, gamma = (float(value) for value in theta_row)
    susceptible, infected, recovered = population - initial_infected, initial_infected, 0
    rows = []
    for _ in range(n):
        rows.append([susceptible / population, infected / population, recovered / population])
        rate = beta * (infected + imports) / population
        infections = int(rng.binomial(susceptible, 1 - math.exp(-rate * dt)))
        recoveries = int(rng.binomial(infected, 1 - math.exp(-gamma * dt)))
        susceptible -= infections
        infected += infections - recoveries
        recovered += recoveries
    return np.array(rows)
