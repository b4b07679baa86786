"""Answers to the exercises of notebook 11: the right ones get all points, the wrong ones at most a third."""

import numpy as np
import pandas as pd


# right: strong_scaling: with pandas
def strong_scaling(seconds):
    times = pd.Series(seconds).sort_index()
    speed_ups = times.index[0] * times.iloc[0] / times
    return {workers: (speed_ups[workers], speed_ups[workers] / workers) for workers in times.index}


# right: strong_scaling: from worker-seconds
def strong_scaling(seconds):
    base = min(seconds) * seconds[min(seconds)]
    efficiency = {workers: base / (workers * seconds[workers]) for workers in seconds}
    return {workers: [workers * value, value] for workers, value in efficiency.items()}


# wrong: strong_scaling: one worker is always there
def strong_scaling(seconds):
    first = seconds.get(1, seconds[min(seconds)])
    return {workers: (first / taken, first / taken / workers) for workers, taken in seconds.items()}


# wrong: strong_scaling: the fewest have a speed-up of 1
def strong_scaling(seconds):
    fewest = min(seconds)
    return {
        workers: (seconds[fewest] / taken, seconds[fewest] / taken * fewest / workers)
        for workers, taken in seconds.items()
    }


# wrong: strong_scaling: the first entry is that of the fewest
def strong_scaling(seconds):
    fewest = next(iter(seconds))
    found = {workers: fewest * seconds[fewest] / taken for workers, taken in seconds.items()}
    return {workers: (value, value / workers) for workers, value in found.items()}


# wrong: strong_scaling: the slowest counts as the base
def strong_scaling(seconds):
    slowest = max(seconds, key=seconds.get)
    found = {workers: slowest * seconds[slowest] / taken for workers, taken in seconds.items()}
    return {workers: (value, value / workers) for workers, value in found.items()}


# wrong: strong_scaling: turned round
def strong_scaling(seconds):
    fewest = min(seconds)
    found = {workers: taken / seconds[fewest] for workers, taken in seconds.items()}
    return {workers: (value, value / workers) for workers, value in found.items()}


# wrong: strong_scaling: the efficiency is cut at 1, and speed-ups are of neighbours
def strong_scaling(seconds):
    found, before = {}, None
    for workers in sorted(seconds):
        value = workers if before is None else before[0] * before[1] / seconds[workers]
        found[workers] = (value, min(1.0, value / workers))
        before = (workers, seconds[workers])
    return found


# right: predict_seconds: a line through two points
def predict_seconds(first, second, workers):
    b, a = np.polyfit([1 / first[0], 1 / second[0]], [first[1], second[1]], 1)
    return a + b / workers, a


# right: predict_seconds: two equations, solved
def predict_seconds(first, second, workers):
    matrix = np.array([[1, 1 / first[0]], [1, 1 / second[0]]])
    a, b = np.linalg.solve(matrix, [first[1], second[1]])
    return [float(a + b / workers), float(a)]


# wrong: predict_seconds: the first is of one worker
def predict_seconds(first, second, workers):
    t1, (n, t) = first[1], second
    serial = (n * t / t1 - 1) / (n - 1)
    return t1 * (serial + (1 - serial) / workers), t1 * serial


# wrong: predict_seconds: no serial part
def predict_seconds(first, second, workers):
    return first[0] * first[1] / workers, 0.0


# wrong: predict_seconds: a straight line in the number of workers
def predict_seconds(first, second, workers):
    slope = (second[1] - first[1]) / (second[0] - first[0])
    return max(0.0, first[1] + slope * (workers - first[0])), 0.0


# wrong: predict_seconds: a power of the number of workers
def predict_seconds(first, second, workers):
    power = np.log(second[1] / first[1]) / np.log(second[0] / first[0])
    return first[1] * (workers / first[0]) ** power, 0.0


# wrong: predict_seconds: the limit is the share
def predict_seconds(first, second, workers):
    (n1, t1), (n2, t2) = first, second
    b = (t1 - t2) / (1 / n1 - 1 / n2)
    a = t1 - b / n1
    return a + b / workers, a / (a + b)


# right: bytes_sent: added up, task by task
def bytes_sent(data, message, tasks, workers):
    each = sum(data + message for _ in range(tasks))
    return each, sum(message for _ in range(tasks)) + sum(data for worker in range(workers) if worker < tasks)


# right: bytes_sent: an array
def bytes_sent(data, message, tasks, workers):
    return np.array([tasks, min(tasks, workers)]) * data + tasks * message


# wrong: bytes_sent: to idle workers too
def bytes_sent(data, message, tasks, workers):
    return tasks * (data + message), workers * data + tasks * message


# wrong: bytes_sent: the messages forgotten
def bytes_sent(data, message, tasks, workers):
    return tasks * data, min(tasks, workers) * data


# wrong: bytes_sent: one message to each worker
def bytes_sent(data, message, tasks, workers):
    return tasks * (data + message), min(tasks, workers) * (data + message)


# wrong: bytes_sent: the data once for all
def bytes_sent(data, message, tasks, workers):
    return tasks * (data + message), data + tasks * message


# wrong: bytes_sent: the messages with the second way alone
def bytes_sent(data, message, tasks, workers):
    return tasks * data, min(tasks, workers) * data + tasks * message


# right: assign_jobs: many random orders, the best of them
def assign_jobs(seconds, workers):
    generator, best = np.random.default_rng(0), None
    for _ in range(300):
        plan, loads = [[] for _ in range(workers)], [0.0] * workers
        for job in sorted(range(len(seconds)), key=lambda job: -seconds[job] * generator.uniform(0.7, 1.3)):
            place = loads.index(min(loads))
            plan[place].append(job)
            loads[place] += seconds[job]
        if best is None or max(loads) < best[0]:
            best = max(loads), plan
    return best[1]


# right: assign_jobs: any move or swap that makes the busiest worker less busy
def assign_jobs(seconds, workers):
    owner = [0] * len(seconds)
    loads = [0.0] * workers
    for job in np.argsort(seconds)[::-1]:
        owner[job] = int(np.argmin(loads))
        loads[owner[job]] += seconds[job]
    for _ in range(500):
        top = int(np.argmax(loads))
        swaps = []
        for job in range(len(seconds)):
            if owner[job] != top:
                continue
            for other in [None, *range(len(seconds))]:
                for to in range(workers) if other is None else [owner[other]]:
                    given = seconds[job] - (0 if other is None else seconds[other])
                    if to != top and given > 1e-12:
                        swaps.append((max(loads[top] - given, loads[to] + given), job, other, to, given))
        if not swaps or min(swaps, key=lambda swap: swap[0])[0] >= loads[top] - 1e-12:
            break
        _, job, other, to, given = min(swaps, key=lambda swap: swap[0])
        owner[job] = to
        if other is not None:
            owner[other] = top
        loads[top] -= given
        loads[to] += given
    return [[job for job in range(len(seconds)) if owner[job] == worker] for worker in range(workers)]


# wrong: assign_jobs: in turn
def assign_jobs(seconds, workers):
    return [list(range(worker, len(seconds), workers)) for worker in range(workers)]


# wrong: assign_jobs: in the given order, to whoever is free first
def assign_jobs(seconds, workers):
    plan, loads = [[] for _ in range(workers)], [0.0] * workers
    for job, taken in enumerate(seconds):
        place = loads.index(min(loads))
        plan[place].append(job)
        loads[place] += taken
    return plan


# wrong: assign_jobs: the longest first alone
def assign_jobs(seconds, workers):
    plan, loads = [[] for _ in range(workers)], [0.0] * workers
    for job in sorted(range(len(seconds)), key=lambda job: -seconds[job]):
        place = loads.index(min(loads))
        plan[place].append(job)
        loads[place] += seconds[job]
    return plan


# wrong: assign_jobs: the shortest first
def assign_jobs(seconds, workers):
    plan, loads = [[] for _ in range(workers)], [0.0] * workers
    for job in sorted(range(len(seconds)), key=lambda job: seconds[job]):
        place = loads.index(min(loads))
        plan[place].append(job)
        loads[place] += seconds[job]
    return plan


# wrong: assign_jobs: as many jobs for each
def assign_jobs(seconds, workers):
    order = sorted(range(len(seconds)), key=lambda job: seconds[job])
    return [[int(job) for job in part] for part in np.array_split(order, workers)]


# wrong: assign_jobs: the long jobs are left out
def assign_jobs(seconds, workers):
    plan, limit = [[] for _ in range(workers)], sum(seconds) / workers
    for job, taken in enumerate(seconds):
        for one in plan:
            if sum(seconds[j] for j in one) + taken <= limit:
                one.append(job)
                break
    return plan
