"""`nox -s torture`: kills a micro sweep at random moments, and tears its files, until nothing is left to try.

Every kill is followed by the same commands again; when they come to their end, every file must equal, byte for byte,
those of a run that nothing disturbed. The same command again continues.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import warm
from study import REPORTS, Ended, TorturedStudy

STAGES = ("measuring", "loading", "sampling", "updating", "validating", "saving", "evaluating", "sealing", "reporting")
COLD = 20
"""Every so many kills, the commands run in fresh interpreters; else in processes forked from this one."""
TRACEBACK = "Traceback (most recent call last)"


class Torture:
    """Kills and tears of one study, noted line by line in `folder/torture.jsonl`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.study = TorturedStudy(folder)
        self.notes = folder / "torture.jsonl"
        self.done = [json.loads(line) for line in self.notes.read_text().splitlines()] if self.notes.exists() else []
        self.calm, self.seconds = self._undisturbed()

    def of(self, what: str) -> list[dict[str, Any]]:
        """What has been noted of kills or tears."""
        return [note for note in self.done if note["what"] == what]

    def kill(self, wanted: int) -> None:
        """Rounds of a fresh study, killed again and again until it ends, up to so many kills."""
        while len(self.of("kill")) < wanted or not self._settled():
            number = len(self.of("kill"))
            if self._settled():
                shutil.rmtree(self.study.out, ignore_errors=True)
            ended = self.study.run() if number >= wanted else self._one_kill(random.Random(f"kill {len(self.done)}"))
            if ended is None:
                continue  # the moment did not come any more; the commands have ended
            if ended.status:
                sys.exit(f"the commands failed after kill {number}:\n{ended.said}")
            self._settle("round")

    def tear(self, wanted: int) -> None:
        """One byte flipped, or a file cut there, in a finished study or in its cache; then the commands again."""
        whole = self.folder / "whole"
        for number in range(len(self.of("tear")), wanted):
            if not whole.exists():
                self._restore()
                if self.study.run().status:
                    sys.exit("the undisturbed commands failed")
                shutil.copytree(self.study.out, whole)
            rng = random.Random(f"tear {number}")
            shutil.rmtree(self.study.out, ignore_errors=True)
            shutil.copytree(whole, self.study.out)
            path, how = self._tear(rng)
            ended = self.study.run()
            other = self._other()
            names = [path.name, *(part for part in path.parts if part.startswith("step-"))]  # its checkpoint, if any
            if ended.status == 0 and not other:
                outcome = "recovered"
            elif 0 < ended.status < 128 and TRACEBACK not in ended.said and any(name in ended.said for name in names):
                outcome = "refused"
            else:
                outcome = "WRONG"
                shutil.copytree(self.study.out, self.folder / f"wrong-{number}", dirs_exist_ok=True)
            output = ended.said.strip().splitlines()[-1:] if outcome != "recovered" else []
            self._note(what="tear", file=str(path), how=how, outcome=outcome, other=other, said=output)
            if outcome != "recovered" and self.folder / "cache" in path.parents:
                self._restore()

    def tear_tiny(self, wanted: int) -> None:
        """The same to a tiny trial, finished or killed in its evaluation, in forked processes: a second each."""
        first = len(self.of("tiny tear"))
        if first >= wanted:
            return
        folder = self.folder / "tiny"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        program = Path(__file__).parents[1] / "helpers" / "survivals.py"
        command = [sys.executable, str(program), str(folder), f"{first}-{wanted - 1}"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            for line in process.stdout or ():
                name, (ended,), other = json.loads(line)
                recovered = ended == "done" and not other
                outcome = "recovered" if recovered else "refused" if ended.startswith("StoreError") else "WRONG"
                self._note(what="tiny tear", file=name, outcome=outcome, other=other, said=ended)
        if process.returncode:
            sys.exit("the tiny trials ended early")

    def table(self) -> str:
        """What was done, where it hit, and what became of it."""
        kills, rounds, tears = self.of("kill"), self.of("round"), self.of("tear")
        hits = Counter(note["stage"] for note in kills)
        wrong = sum(bool(note["other"]) for note in rounds)
        wrong += sum(note["outcome"] == "WRONG" for note in tears + self.of("tiny tear"))
        lines = [f"{len(kills)} kills, each followed by the same commands again, in {len(rounds)} rounds"]
        lines += [f"  {stage:<12}{count:>5}" for stage, count in hits.most_common()]
        lines += [f"  of one worker only: {sum(note['only'] == 'worker' for note in kills)}"]
        lines += [f"  rounds that ended in other bytes: {sum(bool(note['other']) for note in rounds)}"]
        for name, notes in (("study and its cache", tears), ("trial, by its functions", self.of("tiny tear"))):
            counts = Counter(note["outcome"] for note in notes)
            lines += [f"{len(notes)} torn files of a {name}: {_counted(counts)}"] if notes else []
        return "\n".join([*lines, "NOT THE SAME BYTES" if wrong else "the same bytes, every time"])

    def _undisturbed(self) -> tuple[dict[str, str], list[float]]:
        """Digests of an undisturbed run, in fresh interpreters and in forked processes alike, and seconds of these."""
        path = self.folder / "calm.json"
        if not path.exists():
            found = []
            for cold in (True, False):
                shutil.rmtree(self.study.out, ignore_errors=True)
                ended = self.study.run(cold=cold)
                if ended.status:
                    sys.exit(f"the undisturbed commands failed:\n{ended.said}")
                found.append(self.study.digests())
            if found[0] != found[1]:
                names = [name for name in found[0].keys() | found[1].keys() if found[0].get(name) != found[1].get(name)]
                sys.exit(f"two undisturbed runs differ: {', '.join(sorted(names))}")
            path.write_text(json.dumps({"digests": found[1], "seconds": self.study.seconds}))
            _copy(self.folder / "cache", self.folder / "cache-whole")
        noted = json.loads(path.read_text())
        return noted["digests"], noted["seconds"]

    def _one_kill(self, rng: random.Random) -> Ended | None:
        """Runs the commands until they are killed (None), or to their end."""
        once = self.folder / "once"
        once.unlink(missing_ok=True)
        cold = len(self.of("kill")) % COLD == COLD - 1
        where = " in fresh interpreters" if cold else ""
        if rng.random() < 0.5:
            # Reports take as long as all the rest.
            moment = rng.uniform(0, self.seconds[0 if rng.random() < 0.8 else -1])
            ended = self.study.run(disturb=lambda seconds: seconds > moment, cold=cold)
            if ended.killed:
                self._note(what="kill", stage=ended.killed, only="all", how=f"after {moment:.2f} s{where}")
                return None
            return ended
        stage, number, seconds = rng.choice(STAGES), rng.randint(1, 4), rng.choice([0.0, 0.0, rng.uniform(0, 0.3)])
        only = rng.choice(["worker", "all"])
        kill = f"{stage} {number} {seconds:.3f} {once}"
        ended = self.study.run(kill, lambda passed: only == "all" and once.exists(), cold)
        if once.exists():
            only = "command" if stage == "reporting" else only
            self._note(what="kill", stage=stage, only=only, how=f"entry {number}, {seconds:.3f} s later{where}")
            # The commands of a study whose worker died go on by themselves.
            return None if ended.killed or ended.status < 0 else ended
        return ended

    def _settled(self) -> bool:
        """Whether the last thing noted is the end of a round, or nothing yet."""
        relevant = [note for note in self.done if note["what"] in ("kill", "round")]
        return not relevant or relevant[-1]["what"] == "round"

    def _settle(self, what: str) -> None:
        other = self._other()
        self._note(what=what, other=other)
        if other:
            kept = self.folder / f"other-{len(self.done)}"
            shutil.copytree(self.study.out, kept)
            sys.exit(f"other bytes than undisturbed in {', '.join(other)}; kept in {kept}")
        shutil.rmtree(self.study.out)

    def _other(self) -> list[str]:
        found = self.study.digests()
        return sorted(name for name in self.calm.keys() | found.keys() if self.calm.get(name) != found.get(name))

    def _tear(self, rng: random.Random) -> tuple[Path, str]:
        trained = [path for path in self.study.out.rglob("*") if path.is_file() and self._counts(path)]
        cached = [path for path in (self.folder / "cache").rglob("*") if path.is_file() and path.suffix != ".lock"]
        path = rng.choice(sorted(path for path in (trained if rng.random() < 0.85 else cached) if path.stat().st_size))
        data, how = path.read_bytes(), rng.choice(["flip", "cut"])
        index = rng.randrange(len(data))
        flipped = data[:index] + bytes([data[index] ^ (1 << rng.randrange(8))]) + data[index + 1 :]
        path.write_bytes(data[:index] if how == "cut" else flipped)
        return path, f"{how} at byte {index} of {len(data)}"

    def _counts(self, path: Path) -> bool:
        """Whether a result depends on a file of the study."""
        name = path.relative_to(self.study.out).as_posix()
        return name in self.calm and not name.startswith("reports/")

    def _restore(self) -> None:
        """A whole cache again."""
        _copy(self.folder / "cache-whole", self.folder / "cache")
        shutil.rmtree(self.study.out, ignore_errors=True)

    def _note(self, **note: Any) -> None:
        self.done.append(note)
        with self.notes.open("a") as file:
            file.write(json.dumps(note) + "\n")
        sys.stdout.write(f"{len(self.of(note['what']))} {note}\n")
        sys.stdout.flush()


def _copy(source: Path, target: Path) -> None:
    shutil.rmtree(target, ignore_errors=True)
    subprocess.run(["cp", "-a", str(source), str(target)], check=True)


def _counted(counts: Counter[str]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.most_common())


def main() -> None:
    parser = argparse.ArgumentParser(prog="nox -s torture --", description=__doc__)
    parser.add_argument("--kills", type=int, default=100, help="kills in all")
    parser.add_argument("--tears", type=int, default=20, help="torn files in all, through the commands")
    parser.add_argument("--tiny-tears", type=int, default=300, help="torn files of a tiny trial, by its functions")
    parser.add_argument("--out", type=Path, default=Path("runs/torture"), help="folder; the same one again continues")
    arguments = parser.parse_args()
    folder = arguments.out.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    warm.preload(REPORTS)
    torture = Torture(folder)
    torture.kill(arguments.kills)
    torture.tear(arguments.tears)
    torture.tear_tiny(arguments.tiny_tears)
    table = torture.table()
    sys.stdout.write(table + "\n")
    sys.exit("NOT" in table)


if __name__ == "__main__":
    main()
