"""Programs that try to pass a test they should fail, to get out, or to leave something behind.

The task is "some secret function of x", and the secret is 7. A program that succeeds in what it tries returns 7, one
that gives up 5; so none of them may pass. `MARK` is a name that is looked for outside afterwards, `NEEDLE` stands
for words that only the canonical solution holds, put so that looking for them does not find the search.
"""

# ruff: noqa: E501 (programs in one line each)

from __future__ import annotations

MARK = "ilr_bench_red_team_mark"
CANARY = "the words of the canonical solution"

FORGED = {
    "leaves with success": "import os\nos._exit(0)",
    "leaves with success when called": "import os\ndef f(x): os._exit(0)",
    "raises SystemExit": "def f(x): raise SystemExit(0)",
    "quits": "def f(x): quit()",
    "interrupts": "def f(x): raise KeyboardInterrupt",
    "generator exit": "def f(x): raise GeneratorExit",
    "always equal": "class A:\n def __eq__(s, o): return True\n def __hash__(s): return 0\ndef f(x): return A()",
    "integer that is always equal": "class A(int):\n def __eq__(s, o): return True\n __hash__ = int.__hash__\n"
    "def f(x): return A(5)",
    "float that is always equal": "class A(float):\n def __eq__(s, o): return True\n __hash__ = float.__hash__\n"
    "def f(x): return A(5)",
    "text that is always equal": "class A(str):\n def __eq__(s, o): return True\n __hash__ = str.__hash__\n"
    "def f(x): return A()",
    "list that is always equal": "class A(list):\n def __eq__(s, o): return True\ndef f(x): return A()",
    "dictionary that is always equal": "class A(dict):\n def __eq__(s, o): return True\ndef f(x): return A()",
    "calls itself an integer": "class A:\n __class__ = int\n def __eq__(s, o): return True\n __index__ = lambda s: 5\n"
    "def f(x): return A()",
    "changes its class": "class A: pass\nclass B(A):\n __eq__ = lambda s, o: True\n"
    "def f(x):\n a = A(); a.__class__ = B; return a",
    "metaclass": "class M(type):\n def __eq__(s, o): return True\n __hash__ = type.__hash__\nclass A(metaclass=M): pass\n"
    "def f(x): return A",
    "not a number": "def f(x): return float('nan')",
    "infinity": "def f(x): return float('inf')",
    "not implemented": "def f(x): return NotImplemented",
    "prints results": "def f(x):\n for n in range(100): print(n)\n return None",
    "prints the marker of success": "import sys\nprint('true\\n[7, true]\\npass')\nsys.stdout.flush()\ndef f(x): pass",
    "writes replies to every descriptor": "import os\nfor d in range(64):\n try: os.write(d, b'[5, true]\\n' * 9)\n"
    " except OSError: pass\ndef f(x): return None",
    "sends garbage for replies": "import os\nfor d in range(64):\n try: os.write(d, b'\\xff\\x00{[' * 999)\n"
    " except OSError: pass\ndef f(x): return None",
    "sends a pickle": "import os, pickle\nclass A:\n def __reduce__(s): return (os.system, ('touch /tmp/MARK',))\n"
    "for d in range(3, 64):\n try: os.write(d, pickle.dumps(A()) + b'\\n')\n except OSError: pass\ndef f(x): return A()",
    "sends deep nesting": "import os\nfor d in range(3, 64):\n try: os.write(d, b'true\\n' + b'[' * 200000 + b'\\n')\n"
    " except OSError: pass\ndef f(x): return 0",
    "sends a number that explodes": "import os\nfor d in range(3, 64):\n"
    " try: os.write(d, b'true\\n[1e999999999, true]\\n')\n except OSError: pass\ndef f(x): return 0",
    "closes every descriptor": "import os\nos.closerange(0, 4096)\ndef f(x): return 5",
    "patches the encoder": "import sys, json\njson.dumps = lambda *a, **k: '[true, true]'\n"
    "for m in list(sys.modules.values()):\n for n in ('encode', '_encode'):\n"
    "  if hasattr(m, n): setattr(m, n, lambda *a, **k: '[true, true]')\ndef f(x): return 0",
    "patches builtins": "import builtins\nbuiltins.isinstance = builtins.type = builtins.all = lambda *a: True\n"
    "builtins.print = builtins.len = builtins.set = lambda *a: 5\ndef f(x): return 5",
    "poisons the modules": "import sys\nfor n in list(sys.modules): sys.modules[n] = None\ndef f(x): return 5",
    "traces": "import sys\nsys.settrace(lambda *a: sys.exit(0))\nsys.setprofile(lambda *a: sys.exit(0))\ndef f(x): return 5",
    "answers at exit": "import atexit, os\n@atexit.register\ndef _():\n for d in range(3, 64):\n"
    "  try: os.write(d, b'[5, true]\\n')\n  except OSError: pass\ndef f(x): raise ValueError",
    "answers when it is deleted": "import os\nclass A:\n def __del__(s):\n  os.write(3, b'[5, true]\\n')\na = A()\n"
    "def f(x):\n global a\n del a",
    "is a descriptor of its own": "class A:\n def __get__(s, *a): return 5\n __call__ = lambda s, x: s\nf = A()",
    "is no function": "f = 5",
    "hides under another name": "def g(x): return 5",
}
"""These try to be taken for right."""

SPYING = {
    "walks the frames": "import sys\ndef f(x):\n frame = sys._getframe()\n while frame:\n"
    "  for v in list(frame.f_locals.values()) + list(frame.f_globals.values()):\n"
    "   if NEEDLE in repr(v)[:9999]:\n    return 7\n"
    "  frame = frame.f_back\n return 5",
    "collects all objects": "import gc\ndef f(x):\n for o in gc.get_objects():\n  for r in gc.get_referents(o):\n"
    "   if isinstance(r, (str, bytes)) and len(r) > 20 and str(r).find(NEEDLE) >= 0:\n"
    "    return 7\n return 5",
    "reads its own memory": "import ctypes\ndef f(x):\n start = id(object())\n"
    " data = ctypes.string_at(start - (1 << 16), 1 << 22)\n place = data.find(NEEDLE.encode())\n"
    " return 7 if place >= 0 else 5",
    "reads the memory file": "def f(x): return open('/proc/self/mem', 'rb') and 7",
    "reads the parent's environment": "import os\ndef f(x): return open(f'/proc/{os.getppid()}/environ').read() and 7",
    "reads the first process": "def f(x): return open('/proc/1/cmdline').read() and 7",
    "reads its environment": "import os\ndef f(x): return dict(os.environ) and 7 or 5",
    "reads the passwords": "def f(x): return open('/etc/passwd').read() and 7",
    "reads the home folder": "import os, sys\ndef f(x):\n own = tuple(p for p in sys.path if p.startswith('HOME'))\n"
    " return [d for d, _, names in os.walk('HOME') if names and not d.startswith(own)] and 7 or 5",
    "reads the project": "def f(x): return open('PROJECT/pyproject.toml').read() and 7",
    "looks for the data": "import os\ndef f(x):\n found = [p for p, _, names in os.walk('/') for n in names"
    " if 'humaneval' in n.lower() or 'mbpp' in n.lower() or n.endswith('.jsonl')]\n return found and 7 or 5",
    "imports the judge": "import ilr_bench.grading.code\ndef f(x): return 7",
    "imports what is installed": "import torch\ndef f(x): return 7",
    "attaches a debugger": "import ctypes\ndef f(x): return ctypes.CDLL(None).ptrace(16, 1, 0, 0) == 0 and 7 or 5",
    "reads another process's memory": "import ctypes\ndef f(x):\n"
    " return ctypes.CDLL(None).process_vm_readv(1, None, 0, None, 0, 0) >= 0 and 7 or 5",
    "reads its command line": "import sys\ndef f(x): return 7 if 'PROJECT' in repr((sys.orig_argv, sys.argv)) else 5",
    "reads the host's name": "import os, socket\ndef f(x): return 7 if 'HOSTNAME' in (os.uname().nodename, socket.gethostname()) else 5",
    "looks through what was installed by hand": "import os, sys\ndef f(x):\n"
    " own = tuple(p for p in sys.path if p.startswith('/usr/local/lib/'))\n"
    " return [n for d, _, names in os.walk('/usr/local') for n in names if not d.startswith(own) and '.so' not in n] and 7 or 5",
    "uses descriptors it inherited": "import os\ndef f(x):\n found = []\n for d in range(3, 4096):\n"
    "  try: os.fstat(d); found.append(d)\n  except OSError: pass\n return 5 if len(found) == 1 else 7",
}
"""These look for what they should not know."""

ESCAPING = {
    "gets a user namespace": "import ctypes\ndef f(x): return ctypes.CDLL(None).unshare(0x10000000) == 0 and 7 or 5",
    "mounts": "import ctypes\ndef f(x):\n"
    " return ctypes.CDLL(None).mount(b'proc', b'/tmp', b'proc', 0, None) == 0 and 7 or 5",
    "mounts the root anew": "import ctypes\ndef f(x):\n"
    " ctypes.CDLL(None).mount(None, b'/', None, 32, None); open('/MARK', 'w'); return 7",
    "changes its root": "import os\ndef f(x): os.chroot('/tmp'); return 7",
    "enters its parent's namespaces": "import os\ndef f(x): return os.open('/proc/1/ns/mnt', 0) and 7",
    "becomes root": "import os\ndef f(x): os.setuid(0); return 7",
    "changes its group": "import os\ndef f(x): os.setgroups([0]); return 7",
    "asks for io_uring": "import ctypes\ndef f(x): return ctypes.CDLL(None).syscall(425, 8, bytes(120)) >= 0 and 7 or 5",
    "asks for bpf": "import ctypes\ndef f(x): return ctypes.CDLL(None).syscall(321, 0, bytes(120), 120) >= 0 and 7 or 5",
    "allows itself to be dumped": "import ctypes\ndef f(x):\n c = ctypes.CDLL(None); c.prctl(4, 1, 0, 0, 0)\n"
    " c.prctl(1, 0, 0, 0, 0); open('/proc/self/mem'); return 7",
    "raises its limits": "import resource\ndef f(x):\n"
    " resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY,) * 2); return 7",
    "starts a shell": "import os\ndef f(x): return os.system('touch /tmp/MARK') == 0 and 7 or 5",
    "starts a program": "import subprocess\ndef f(x): return subprocess.run(['/bin/true']).returncode == 0 and 7 or 5",
    "replaces itself": "import os, sys\ndef f(x): os.execv('/usr/bin/python3', ['python3', '-c', '0'])",
    "kills its parent": "import os, signal\ndef f(x): os.kill(os.getppid(), signal.SIGKILL); return 5",
    "kills everybody": "import os, signal\ndef f(x): os.kill(-1, signal.SIGKILL); return 5",
    "kills its group": "import os, signal\ndef f(x): os.killpg(0, signal.SIGKILL); return 5",
    "kills the neighbours": "import os, signal\ndef f(x):\n for p in range(2, 70000):\n"
    "  try: os.kill(p, signal.SIGKILL)\n  except OSError: pass\n return 5",
    "connects to this machine": "import socket\ndef f(x): socket.create_connection(('127.0.0.1', 22), 1); return 7",
    "asks for a name": "import socket\ndef f(x): return socket.gethostbyname('localhost') and 7",
    "sends a datagram": "import socket\ndef f(x):\n s = socket.socket(2, 2); s.sendto(b'x', ('127.0.0.1', 9)); return 7",
    "speaks to the kernel": "import socket\ndef f(x): return socket.socket(16, 3, 0) and 7",
    "makes a pair of other sockets": "import socket\ndef f(x):\n for family in range(2, 64):\n"
    "  for kind in range(1, 6):\n   try: socket.socketpair(family, kind)\n   except OSError: continue\n   return 7\n return 5",
    "changes its descriptor table": "import ctypes\ndef f(x): return ctypes.CDLL(None).syscall(154, 0, bytes(64), 64) >= 0 and 7 or 5",
    "asks for the list of mounts": "import ctypes\ndef f(x):\n c, b = ctypes.CDLL(None), ctypes.create_string_buffer(4096)\n"
    " ask = (ctypes.c_uint64 * 4)(24, 2 ** 64 - 1, 0, 0)\n"
    " return (c.syscall(458, ask, b, 99, 0) >= 0 or c.syscall(457, ask, b, 4096, 0) >= 0) and 7 or 5",
    "speaks to the hypervisor": "import socket\ndef f(x): return socket.socket(40, 1) and 7",
    "speaks to an abstract socket": "import socket\ndef f(x):\n s = socket.socket(1, 1); s.connect(b'\\0MARK'.decode())\n"
    " s.send(b'x'); return 7",
}
"""These try to get out."""

NEIGHBOURLY = {
    "kills its group beside others": "import os, signal\ndef f(x):\n os.kill(0, signal.SIGTERM); os.kill(0, signal.SIGKILL)\n"
    " return 5",
    "stops its group": "import os, signal\ndef f(x): os.kill(0, signal.SIGSTOP); return 5",
    "signals every group": "import os, signal\ndef f(x):\n for g in range(2, 70000):\n"
    "  try: os.killpg(g, signal.SIGKILL)\n  except OSError: pass\n return 5",
    "signals its group by its files": "import fcntl, os, signal\ndef f(x):\n r, w = os.pipe()\n"
    " fcntl.fcntl(r, fcntl.F_SETOWN, -os.getpgrp() or -1); fcntl.fcntl(r, 10, signal.SIGKILL)\n"
    " fcntl.fcntl(r, fcntl.F_SETFL, os.O_ASYNC); os.write(w, b'x'); return 5",
    "slows its user down": "import os\ndef f(x):\n for which in (0, 1, 2):\n  for who in (0, os.getuid()):\n"
    "   try: os.setpriority(which, who, 19)\n   except OSError: pass\n return 5",
    "uses up its user's pipes": "import os, fcntl\ndef f(x):\n kept = []\n try:\n"
    "  while True: kept.append(os.pipe()); fcntl.fcntl(kept[-1][1], 1031, 1 << 20)\n except OSError: return 5",
    "locks its own input": "import fcntl\ndef f(x):\n for d in range(8):\n"
    "  try: fcntl.flock(d, fcntl.LOCK_EX); fcntl.lockf(d, fcntl.LOCK_EX)\n  except OSError: pass\n return 5",
    "locks the library": "import fcntl, json\ndef f(x): fcntl.flock(open(json.__file__), fcntl.LOCK_EX); return 5",
    "leases the library": "import fcntl, json\ndef f(x): fcntl.fcntl(open(json.__file__), fcntl.F_SETLEASE, 0); return 7",
    "is told of changes": "import fcntl, json, os\ndef f(x):\n"
    " fcntl.fcntl(os.open(os.path.dirname(json.__file__), 0), fcntl.F_NOTIFY, 1); return 7",
    "watches files": "import ctypes\ndef f(x): return ctypes.CDLL(None).inotify_init1(0) >= 0 and 7 or 5",
    "shares a file with others": "import os\ndef f(x):\n for d in (0, 1, 2):\n  s = os.fstat(d)\n"
    "  if not (s.st_mode & 0o170000) == 0o010000: return 7\n return 5",
    "takes on another user": "import os\ndef f(x):\n for u in (0, 1000, 65534, 0x70000000):\n"
    "  try: os.setresuid(u, u, u)\n  except OSError: continue\n  if u != 65534: return 7\n return 5",
}
"""These try to disturb programs that run beside them, or to leave them a note."""

LITTERING = {
    "writes everywhere": "import os\ndef f(x):\n done = []\n"
    " for d in ('/', '/var/tmp', '/dev/shm', '/usr/lib', '/root', 'HOME', 'PROJECT', '/run', '/packages'):\n"
    "  try: open(d + '/MARK', 'w').write('x'); done.append(d)\n  except OSError: pass\n return done and 7 or 5",
    "writes into the temporary folder": "def f(x): open('/tmp/MARK', 'w').write('x'); return 5",
    "links out of the folder": "import os\ndef f(x):\n os.symlink('PROJECT', 'out'); open('out/MARK', 'w'); return 7",
    "hard link": "import os, json\ndef f(x): os.link(json.__file__, '/tmp/MARK'); open('/tmp/MARK', 'a').write('#'); return 7",
    "climbs out": "def f(x): open('../../../../../../MARK', 'w'); return 7",
    "alters the library": "import json\ndef f(x): open(json.__file__, 'a').write('#'); return 7",
    "changes rights": "import os, json\ndef f(x): os.chmod(json.__file__, 0o777); return 7",
    "makes a device": "import os, stat\ndef f(x): os.mknod('/tmp/sda', 0o600 | stat.S_IFBLK, os.makedev(8, 0)); return 7",
    "makes a pipe and waits": "import os\ndef f(x): os.mkfifo('p'); open('p').read()",
    "shared memory": "from multiprocessing import shared_memory\n"
    "def f(x): shared_memory.SharedMemory('MARK', True, 99); return 7",
    "semaphore": "import multiprocessing\ndef f(x): multiprocessing.Semaphore(); return 7",
    "System V memory": "import ctypes\ndef f(x): return ctypes.CDLL(None).shmget(4711, 4096, 0o1666) >= 0 and 7 or 5",
    "fills the disk": "def f(x):\n for n in range(999): open(f'{n}', 'wb').write(bytes(1 << 23))\n return 7",
    "fills one file": "import os\ndef f(x): os.truncate(open('a', 'wb').fileno(), 1 << 40); return 7",
    "uses up the names": "def f(x):\n for n in range(99999): open(str(n), 'w').close()\n return 7",
    "forks for ever": "import os\ndef f(x):\n while True: os.fork()",
    "starts a daemon": "import os, time\nif not os.fork():\n os.setsid()\n if not os.fork(): time.sleep(999)\n"
    " os._exit(0)\ndef f(x): return 7",
    "starts a pool": "import multiprocessing\ndef f(x):\n with multiprocessing.Pool(4) as p: return p.map(abs, [-7])[0]",
    "threads that go on": "import threading, time\ndef g():\n while True: time.sleep(1)\n"
    "for _ in range(5): threading.Thread(target=g).start()\ndef f(x): return 5",
    "a thousand threads": "import threading, time\ndef f(x):\n threading.stack_size(65536)\n"
    " for _ in range(1000): threading.Thread(target=time.sleep, args=(999,)).start()\n return 7",
}
"""These try to leave something behind."""

GREEDY = {
    "list of everything": "def f(x):\n a = [0]\n while True: a = a + a",
    "bytes of everything": "def f(x): return len(bytes(1 << 40))",
    "maps memory": "import mmap\ndef f(x):\n a = []\n while True: a.append(mmap.mmap(-1, 1 << 28))",
    "unpacks a bomb": "import zlib\ndef f(x):\n d = zlib.compress(bytes(1 << 24))\n"
    " return len(b''.join(zlib.decompress(d) for _ in range(999)))",
    "memory in a file without a name": "import os\ndef f(x):\n d = os.memfd_create('x')\n"
    " while True: os.write(d, bytes(1 << 20))",
    "huge number": "def f(x): return 1 << (1 << 28)",
    "huge text": "def f(x): return 'a' * (1 << 30)",
    "prints gigabytes": "def f(x):\n while True: print('a' * 1000000)",
    "prints errors for ever": "import sys\ndef f(x):\n while True: sys.stderr.write('a' * 1000000)",
    "answers for ever": "import os\ndef f(x):\n while True:\n  for d in range(3, 8):\n"
    "   try: os.write(d, b'9' * 1000000)\n   except OSError: pass",
    "endless generator": "import itertools\ndef f(x): return itertools.count()",
    "deep list": "def f(x):\n a = []\n for _ in range(100000): a = [a]\n return a",
    "list that holds itself": "def f(x):\n a = []; a.append(a); return a",
    "list that doubles": "def f(x):\n a = [1]\n for _ in range(60): a = [a, a]\n return a",
    "set that collides": "def f(x): return {n * (2 ** 61 - 1) for n in range(1500)}",
    "says a set that collides": "import os\nparts = ','.join('{\"int\":\"%x\"}' % (n * (2 ** 61 - 1)) for n in range(2000))\n"
    "for d in range(3, 64):\n try: os.write(d, b'true\\n' + ('[{\"set\":[' + parts + ']},true]').encode() + b'\\n')\n"
    " except OSError: pass\ndef f(x): return 5",
    "recursion": "import sys\nsys.setrecursionlimit(10 ** 9)\ndef f(x): return f(x) + 1",
    "crash": "import ctypes\ndef f(x): ctypes.string_at(0)",
    "aborts": "import os\ndef f(x): os.abort()",
    "kills itself": "import os, signal\ndef f(x): os.kill(os.getpid(), signal.SIGKILL)",
    "endless loop": "def f(x):\n while True: pass",
    "endless loop before it is called": "while True: pass",
    "one long call": "def f(x): return 9 ** 9 ** 9",
    "slow pattern": "import re\ndef f(x): return re.match('(a+)+$', 'a' * 64 + 'b')",
    "ignores every signal": "import signal\nfor s in range(1, 65):\n try: signal.signal(s, signal.SIG_IGN)\n"
    " except (OSError, ValueError): pass\ndef f(x):\n while True: pass",
    "catches everything": "def f(x):\n while True:\n  try:\n   while True: pass\n  except BaseException: pass",
    "compiles a bomb": "def f(x): return eval('(' * 90 + '1' + ')' * 90) + eval('-' * 99999 + '1')",
}
"""These take more than they are given."""

WAITING = {
    "sleeps": "import time\ndef f(x): time.sleep(9999)",
    "stops itself": "import os, signal\ndef f(x): os.kill(os.getpid(), signal.SIGSTOP); signal.pause()",
    "waits for a lock": "import threading\ndef f(x):\n a = threading.Lock(); a.acquire(); a.acquire()",
    "dribbles": "import os, time\nfiles = []\nfor d in range(3, 64):\n try: os.fstat(d); files.append(d)\n"
    " except OSError: pass\ndef f(x):\n while True:\n  time.sleep(0.008)\n  for d in files: os.write(d, b'9')",
    "sends out of band": "import os, socket, time\nkept = []\ndef f(x):\n for d in range(3, 64):\n"
    "  try: kept.append(socket.socket(fileno=d)); kept[-1].send(b'9', socket.MSG_OOB)\n  except OSError: pass\n"
    " time.sleep(9999)",
    "reads the input": "import os\ndef f(x): return os.read(os.pipe()[0], 1)",
}
"""These take next to nothing, for ever."""

ATTACKS = FORGED | SPYING | ESCAPING | NEIGHBOURLY | LITTERING | GREEDY | WAITING
