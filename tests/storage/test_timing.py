"""Seconds by stage, and the machine that they were spent on."""

from __future__ import annotations

import json
import time
from pathlib import Path

from ilr_bench.core.hardware import machine
from ilr_bench.storage.timing import Stopwatch, stage_seconds


def test_machine_names_processor_cores_memory_and_cards(tmp_path: Path) -> None:
    cpus = tmp_path / "cpuinfo"
    cpus.write_text("processor\t: 0\nmodel name\t: Fast 9000\nmodel name\t: Fast 9000\n")
    card = tmp_path / "gpus" / "0000:01:00.0"
    card.mkdir(parents=True)
    (card / "information").write_text("Model: \t\t NVIDIA H200\nIRQ: 1\n")
    name, cores, memory, gpu = machine(cpus, tmp_path / "gpus").split(", ")
    assert (name, gpu) == ("Fast 9000", "NVIDIA H200")
    assert cores.endswith(" cores")
    assert memory.endswith(" GiB")


def test_machine_is_known_without_the_kernels_files(tmp_path: Path) -> None:
    assert len(machine(tmp_path / "none", tmp_path / "none").split(", ")) >= 2


def test_each_process_names_its_machine_once(tmp_path: Path) -> None:
    path = tmp_path / "timing.jsonl"
    for first in (0, 2):
        watch = Stopwatch(path)
        for step in (first, first + 1):
            with watch.watch("sharing"):
                watch.count("sharing", 5)
            watch.write(step)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["step"] for line in lines if "machine" in line] == [0, 2]
    assert {line["stage"] for line in lines if "machine" in line} == {"total"}
    assert set(stage_seconds([path, tmp_path / "missing"])) == {"sharing", "total"}


def test_computing_and_waiting_are_told_apart(tmp_path: Path) -> None:
    path = tmp_path / "timing.jsonl"
    watch = Stopwatch(path)
    with watch.watch("waiting"):
        time.sleep(0.2)
    with watch.watch("computing"):
        until = time.process_time() + 0.2
        while time.process_time() < until:
            pass
    watch.write(1)
    clock, cpu = stage_seconds([path]), stage_seconds([path], "cpu")
    assert clock["waiting"] >= 0.2 > 0.1 > cpu["waiting"]
    assert cpu["computing"] >= 0.2
    assert cpu["total"] >= cpu["computing"] + cpu["waiting"]


def test_a_line_that_a_kill_tore_is_dropped_by_the_next_process_and_ignored_by_readers(tmp_path):
    path = tmp_path / "timing.jsonl"
    Stopwatch(path).write(1)
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"step": 2, "stage": "to')
    assert stage_seconds([path]).keys() == {"total"}
    Stopwatch(path).write(2)
    assert path.read_bytes().startswith(whole)
    assert [json.loads(line)["step"] for line in path.read_text().splitlines()] == [1, 2]
