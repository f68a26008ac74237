"""A loader: feeds operations to `dovetail exec` and accounts for every one.

Each line has one result, in order. What a failure means decides what happens:

  ok                      done
  failed, not `maybe`     it had no effect: fed again as it is
  failed, `maybe`         it may have had one, or may still. Registers and sets
                          can be written again without harm and are; counter
                          additions are never repeated, they widen the interval
                          in which the counter must end up
  no result               exec died: as `maybe`; exec is started again
"""

import collections
import json
import subprocess
import threading
import time

# Lines fed and not answered. More would only widen what is unknown when exec
# dies; fewer would starve its pipeline.
UNANSWERED_MAX = 2000
ATTEMPTS_MAX = 200
EXEC_STARTS_MAX = 20
# An operation is fed again only after this, so that a cluster in trouble is not
# made busier.
RETRY_AFTER_S = 0.1


class LoadFailed(Exception):
    pass


class Ledger:
    """For each counter what was surely added, and what may have been."""

    def __init__(self):
        self.acknowledged = collections.Counter()
        self.attempted = collections.Counter()

    def add(self, counts, sure):
        for counter, amount in counts:
            self.attempted[counter] += amount
            if sure:
                self.acknowledged[counter] += amount

    def merge(self, other):
        self.acknowledged.update(other.acknowledged)
        self.attempted.update(other.attempted)


class Loader(threading.Thread):
    """Runs `command` (a `dovetail exec`) until all of `operations` are done."""

    def __init__(self, name, command, operations, log):
        super().__init__(name=name, daemon=True)
        self.ledger = Ledger()
        self.packages_done = 0
        self.operations_done = 0
        self.repeated = 0
        self.unsure = 0
        self.error = None
        self._command = command
        self._operations = iter(operations)
        self._log = log
        self._retries = collections.deque()   # (not before, operation)
        self._unanswered = collections.deque()
        self._changed = threading.Condition()
        self._broken = False                   # exec is gone

    def run(self):
        try:
            for _ in range(EXEC_STARTS_MAX):
                if self._run_exec():
                    return
                time.sleep(RETRY_AFTER_S)
            raise LoadFailed(f"exec ended {EXEC_STARTS_MAX} times")
        except Exception as error:  # pylint: disable=broad-except
            self.error = error  # the thread that waits for this one raises it

    def _run_exec(self):
        """One life of exec. True if everything is done."""
        self._broken = False
        exec_ = subprocess.Popen(self._command, stdin=subprocess.PIPE,
                                 stdout=subprocess.PIPE, stderr=self._log)
        feeder = threading.Thread(target=self._feed, args=(exec_.stdin,),
                                  daemon=True)
        feeder.start()
        try:
            for line in exec_.stdout:
                self._settle(json.loads(line))
        except Exception:
            exec_.kill()
            raise
        finally:
            with self._changed:
                self._broken = True
                self._changed.notify_all()
            feeder.join()
            exec_.stdout.close()
            exec_.wait()
        with self._changed:
            done = (not self._unanswered and not self._retries
                    and self._exhausted())
            while self._unanswered:
                self._repeat(self._unanswered.popleft(), maybe=True)
        return done

    def _exhausted(self):
        """True if no operation is left; keeps one that it had to look at."""
        operation = next(self._operations, None)
        if operation is not None:
            self._retries.append((0, operation))
        return operation is None

    def _feed(self, pipe):
        try:
            while True:
                operation = self._next(wait=False)
                if operation is None:
                    pipe.flush()  # it may be what exec waits for
                    operation = self._next(wait=True)
                if operation is None:
                    break
                pipe.write(operation.encoded().encode())
        except BrokenPipeError:
            pass  # the reader sees the end of the results
        finally:
            try:
                pipe.close()
            except BrokenPipeError:
                pass

    def _next(self, wait):
        """The next operation to feed, now unanswered. None if there is none at
        the moment (`wait` false), or none will come (`wait` true)."""
        with self._changed:
            while not self._broken:
                operation = None
                if len(self._unanswered) < UNANSWERED_MAX:
                    operation = self._take()
                if operation is not None:
                    self._unanswered.append(operation)
                    return operation
                if not wait or not (self._unanswered or self._retries):
                    return None
                self._changed.wait(RETRY_AFTER_S if self._retries else None)
            return None

    def _take(self):
        if self._retries and self._retries[0][0] <= time.monotonic():
            return self._retries.popleft()[1]
        return next(self._operations, None)

    def _settle(self, result):
        with self._changed:
            if not self._unanswered:
                raise LoadFailed(f"a result without an operation: {result}")
            operation = self._unanswered.popleft()
            if result.get("ok"):
                self.ledger.add(operation.counts, sure=True)
                self._done(operation)
            else:
                maybe = bool(result.get("maybe"))
                operation.attempts += 1
                if operation.attempts >= ATTEMPTS_MAX:
                    raise LoadFailed(f"failed {ATTEMPTS_MAX} times: {result}")
                if result.get("code") == "INVALID_ARGUMENT":
                    raise LoadFailed(f"{result} for {operation.line}")
                self._repeat(operation, maybe)
            self._changed.notify_all()

    def _repeat(self, operation, maybe):
        if maybe:
            if operation.counts:
                self.ledger.add(operation.counts, sure=False)
                self.unsure += 1
            operation.counts = ()
            operation.line = operation.again
        if operation.line is None:
            self._done(operation)
        else:
            self.repeated += 1
            self._retries.append((time.monotonic() + RETRY_AFTER_S, operation))

    def _done(self, operation):
        self.operations_done += 1
        self.packages_done += operation.loads_package
