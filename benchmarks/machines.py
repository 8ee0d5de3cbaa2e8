"""Machines in network namespaces: each has an address on a network of its own, can be cut off and be killed.

What runs there shares this machine's disk and processors, but no loopback, port or socket.
"""

import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import psutil

_PREFIX = f"sh{os.getpid()}"  # short: the kernel allows 15 characters for the name of an interface
_SUBNET = f"198.18.{os.getpid() % 256}"  # of the addresses that are set apart for tests (RFC 2544)
_SWITCH = f"{_PREFIX}-switch"
_DEATH_SECONDS = 20
_JANITOR = r"""
cat  # until its standard input ends
ip link delete $1  # at once; by itself it would go some time after its other end's namespace
for namespace in $(ip netns list | sed -n "s/^\($1-[a-z0-9]*\).*/\1/p"); do
    while pids=$(ip netns pids $namespace) && test -n "$pids"; do kill -9 $pids; sleep 0.1; done
    ip netns delete $namespace  # and with it both ends of its cables
done
rm -rf /tmp/$1-*
"""


class Machine:
    """One network namespace, with an address on the network."""

    def __init__(self, name: str, number: int) -> None:
        """Make it and plug it in. ``number``: the last byte of its address."""
        self.name, self.address = name, f"{_SUBNET}.{number}"
        self._namespace, self._started = f"{_PREFIX}-{name}", list[subprocess.Popen[bytes]]()
        ip("netns", "add", self._namespace)
        self.folder = Path(f"/tmp/{_PREFIX}-{name}")  # short: Ray puts sockets there
        self.folder.mkdir(mode=0o700)
        own, at_switch = ("-n", self._namespace), ("-n", _SWITCH)
        ip(*own, "link", "set", "lo", "up")
        ip(*own, "link", "add", "eth0", "type", "veth", "peer", "name", self.name, "netns", _SWITCH)
        ip(*own, "address", "add", f"{self.address}/24", "dev", "eth0")
        ip(*own, "link", "set", "eth0", "up")
        ip(*at_switch, "link", "set", self.name, "master", "bridge", "up")

    def cut_off(self) -> None:
        """Unplug it: it runs on, but no packet reaches it or leaves it."""
        ip("-n", _SWITCH, "link", "set", self.name, "down")

    def start(
        self, command: Sequence[str | Path], environment: Mapping[str, str], output: Path | None = None
    ) -> subprocess.Popen[bytes]:
        """Run a command there; what it prints goes to ``output``, by default to `log`."""
        command = ["ip", "netns", "exec", self._namespace, *command]
        with (output or self.log).open("ab") as log:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment
            )
        self._started.append(process)
        return process

    @property
    def log(self) -> Path:
        """What its commands have printed."""
        return self.folder / "machine.log"

    def runs(self, name: str) -> bool:
        """Return whether a process runs there whose name begins so."""
        for process in self.processes():
            with suppress(psutil.Error):
                if process.name().startswith(name[:15]):  # the kernel keeps no more of it
                    return True
        return False

    def kill(self) -> None:
        """Kill all that runs there, and wait until it is gone."""
        deadline = time.monotonic() + _DEATH_SECONDS
        while processes := self.processes():
            assert time.monotonic() < deadline, f"{self.name}: {processes} can't be killed"
            for process in processes:
                with suppress(psutil.NoSuchProcess):
                    process.kill()
            time.sleep(0.05)
        for process in self._started:
            process.wait()

    def processes(self) -> list[psutil.Process]:
        """Return all that runs there."""
        found = []
        for pid in ip("netns", "pids", self._namespace).split():
            with suppress(psutil.NoSuchProcess):
                found.append(psutil.Process(int(pid)))
        return found


class Network:
    """A switch and the machines on it. This machine is on it too, as the first address.

    The switch is in a namespace of its own, where no firewall of this machine is in the way.
    """

    def __init__(self) -> None:
        """Set up the switch. Raises CalledProcessError where that isn't allowed."""
        self._machines: list[Machine] = []
        # a process of its own, which cleans up also where this one is killed
        self._janitor = subprocess.Popen(
            ["sh", "-c", _JANITOR, "janitor", _PREFIX], stdin=subprocess.PIPE, start_new_session=True
        )
        try:
            ip("netns", "add", _SWITCH)
            at_switch = ("-n", _SWITCH)
            ip(*at_switch, "link", "add", "name", "bridge", "type", "bridge")
            ip(*at_switch, "link", "set", "bridge", "up")
            ip("link", "add", "name", _PREFIX, "type", "veth", "peer", "name", "outside", "netns", _SWITCH)
            ip(*at_switch, "link", "set", "outside", "master", "bridge", "up")
            ip("address", "add", f"{_SUBNET}.1/24", "dev", _PREFIX)
            ip("link", "set", _PREFIX, "up")
        except subprocess.CalledProcessError:
            self.remove()
            raise

    def add(self, name: str) -> Machine:
        """Return a new machine."""
        machine = Machine(name, len(self._machines) + 2)
        self._machines.append(machine)
        return machine

    def remove(self) -> None:
        """Kill all machines, and leave nothing behind."""
        for machine in self._machines:
            machine.kill()
        self._janitor.communicate()

    @property
    def address(self) -> str:
        """The address of this machine on the network."""
        return f"{_SUBNET}.1"


def ip(*arguments: str) -> str:
    """Run the command ip, and return what it prints."""
    done = subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)
    return done.stdout
