"""`dovetaild` processes on loopback, three of them unless more are wanted, in a
directory of their own."""

import fcntl
import json
import os
import random
import signal
import socket
import subprocess
import tempfile
import time
from dataclasses import dataclass

NAMES = ("a", "b", "c")
PARTITIONS = 16
START_SECONDS_MAX = 30
COMMAND_SECONDS_MAX = 60
# Below the ports that the kernel hands out by itself: a restarted node must
# find its own free.
PORTS = range(20000, 32000)
reserved = []  # locks, held until the process ends

CONFIG = """\
cluster = "demo"
node = "{name}"
listen = "{listen}"
peer_listen = "{peer_listen}"
data_dir = "{data_dir}"
partitions = {partitions}
shards = {shards}
{settings}
{members}
"""

MEMBER = """\
[[members]]
name = "{name}"
address = "{listen}"
peer_address = "{peer_listen}"
zone = "{zone}"
region = "{region}"
"""


# Of a node that joins: where it listens, and whom it asks.
JOINER = """\
node = "{name}"
listen = "{listen}"
peer_listen = "{peer_listen}"
data_dir = "{data_dir}"
shards = 1
join = "{join}"
"""

# Of a node whose data directory knows the rest.
KNOWN = """\
listen = "{listen}"
peer_listen = "{peer_listen}"
data_dir = "{data_dir}"
shards = 1
"""


class ClusterError(Exception):
    pass


def reserve(port):
    """Whether no other test has that port, and none will while this process
    lives: a node that was killed has to find its port free again."""
    directory = os.path.join(tempfile.gettempdir(),
                             f"dovetail-ports-{os.getuid()}")
    os.makedirs(directory, exist_ok=True)
    lock = open(os.path.join(directory, str(port)), "w", encoding="ascii")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.close()
        return False
    reserved.append(lock)
    return True


def free_port(taken):
    for port in random.SystemRandom().sample(PORTS, 200):
        if port in taken or not reserve(port):
            continue
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        taken.add(port)
        return port
    raise ClusterError("no free port on 127.0.0.1")


@dataclass(frozen=True)
class Place:
    """Where a node is. `inside`: what runs a command there, as words that go
    before it."""
    zone: str = ""
    region: str = ""
    host: str = "127.0.0.1"
    inside: tuple = ()


class Node:
    def __init__(self, name, directory, taken_ports, place=Place()):
        self.name = name
        self.place = place
        self.address = f"{place.host}:{free_port(taken_ports)}"
        self.peer_address = f"{place.host}:{free_port(taken_ports)}"
        self.data = os.path.join(directory, name)
        self.config = os.path.join(directory, f"{name}.toml")
        self.log = os.path.join(directory, f"{name}.log")
        self.environment = {}   # beside that of this process
        self.process = None

    def running(self):
        return self.process is not None and self.process.poll() is None

    def log_tail(self, lines=15):
        with open(self.log, encoding="utf-8", errors="replace") as file:
            return "".join(file.readlines()[-lines:])


class Cluster:
    """Use as a context manager; leaving it ends the processes it started.
    `settings`: more lines for the configuration of each node. `places`: the
    nodes are in these, in turn."""

    def __init__(self, binaries, directory, settings="", names=NAMES,
                 places=(Place(),)):
        self.binaries = binaries
        self.directory = directory
        self.taken = set()
        self.nodes = [Node(name, directory, self.taken, places[i % len(places)])
                      for i, name in enumerate(names)]
        members = "\n".join(
            MEMBER.format(name=n.name, listen=n.address,
                          peer_listen=n.peer_address, zone=n.place.zone,
                          region=n.place.region)
            for n in self.nodes)
        for node in self.nodes:
            with open(node.config, "w", encoding="utf-8") as file:
                file.write(CONFIG.format(
                    name=node.name, listen=node.address,
                    peer_listen=node.peer_address, data_dir=node.data,
                    partitions=PARTITIONS, shards=1, settings=settings,
                    members=members))

    def __enter__(self):
        try:
            for node in self.nodes:
                self.launch(node)
            for node in self.nodes:
                self.wait_ready(node)
        except BaseException:
            self.kill_all()
            raise
        return self

    def __exit__(self, *_):
        self.kill_all()

    def launch(self, node):
        with open(node.log, "ab") as log:
            # However this process ends, its nodes end with it.
            node.process = subprocess.Popen(
                [*node.place.inside, "setpriv", "--pdeathsig", "KILL",
                 os.path.join(self.binaries, "dovetaild"), "--config",
                 node.config],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                env={**os.environ, **node.environment})

    def join(self, name):
        """A further node, told of all others there are. Owns nothing yet."""
        node = Node(name, self.directory, self.taken)
        with open(node.config, "w", encoding="utf-8") as file:
            file.write(JOINER.format(
                name=node.name, listen=node.address,
                peer_listen=node.peer_address, data_dir=node.data,
                join=",".join(n.address for n in self.nodes)))
        self.nodes.append(node)
        self.launch(node)
        self.wait_ready(node)
        return node

    def move(self, node):
        """Other ports for a node that does not run; the rest it must know."""
        node.address = f"{node.place.host}:{free_port(self.taken)}"
        node.peer_address = f"{node.place.host}:{free_port(self.taken)}"
        with open(node.config, "w", encoding="utf-8") as file:
            file.write(KNOWN.format(listen=node.address,
                                    peer_listen=node.peer_address,
                                    data_dir=node.data))

    def wait_ready(self, node):
        """Until `node` answers; polls, since only an answer proves it."""
        deadline = time.monotonic() + START_SECONDS_MAX
        while True:
            if not node.running():
                raise ClusterError(f"node {node.name} ended with status "
                                   f"{node.process.returncode}:\n"
                                   f"{node.log_tail()}")
            status = self.run(["status"], node, check=False)
            if status.returncode == 0:
                return
            if time.monotonic() > deadline:
                raise ClusterError(
                    f"node {node.name} did not answer in {START_SECONDS_MAX} s"
                    f":\n{status.stderr}{node.log_tail()}")
            time.sleep(0.05)

    def kill(self, node):
        """SIGKILL: no chance to flush, close or say goodbye."""
        node.process.send_signal(signal.SIGKILL)
        node.process.wait()

    def kill_all(self):
        for node in self.nodes:
            if node.running():
                self.kill(node)

    def stop_all(self):
        """SIGTERM; the nodes must end by themselves, with status 0."""
        for node in self.nodes:
            node.process.send_signal(signal.SIGTERM)
        for node in self.nodes:
            self.wait_stopped(node, START_SECONDS_MAX)

    def wait_stopped(self, node, seconds_max):
        """`node`, which got a SIGTERM, must end in time and with status 0."""
        try:
            status = node.process.wait(seconds_max)
        except subprocess.TimeoutExpired:
            raise ClusterError(f"node {node.name} ignored SIGTERM for "
                               f"{seconds_max} s") from None
        if status != 0:
            raise ClusterError(f"node {node.name} ended with status "
                               f"{status}:\n{node.log_tail()}")

    # --- The command line client ---

    def exec_command(self, first, *arguments):
        """`dovetail exec` that prefers node `first` and knows the others."""
        at = self.nodes.index(first)
        order = self.nodes[at:] + self.nodes[:at]
        return [os.path.join(self.binaries, "dovetail"), "exec", "--node",
                ",".join(n.address for n in order), *arguments]

    def exec_at(self, node, *arguments):
        """`dovetail exec` at `node` and nowhere else."""
        return [os.path.join(self.binaries, "dovetail"), "exec", "--node",
                node.address, *arguments]

    def run(self, arguments, node, check=True):
        command = [os.path.join(self.binaries, "dovetail"), "--node",
                   node.address, *arguments]
        done = subprocess.run(command, stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, check=False,
                              timeout=COMMAND_SECONDS_MAX)
        if check and done.returncode != 0:
            raise ClusterError(f"{' '.join(command)}: "
                               f"{(done.stderr + done.stdout).strip()}")
        return done

    def view(self, node):
        """The cluster as `node` sees it."""
        return json.loads(
            self.run(["cluster", "status", "--json"], node).stdout)

    def owners(self):
        """{partition: names of its owners}, as the first node sees it."""
        ring = json.loads(self.run(["cluster", "ring", "--json"],
                                   self.nodes[0]).stdout)
        return dict(enumerate(ring["partitions"]))

    def digest(self, node):
        return json.loads(self.run(["digest", "--json"], node).stdout)
