"""A journal's lines, in which an interrupted evaluation is continued, are as they always were."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from ilr_bench.evaluation.batching import Journal
from ilr_bench.generation.engine import Completion


def test_a_line_is_the_first_sixteen_digits_of_its_digest_and_compact_json(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j", "k")
    journal.add(3, [Completion((7, 8), np.zeros(2, np.float32), True), Completion((), np.zeros(0, np.float32), False)])
    texts = [b'{"key":"k"}', b'{"batch":3,"spoken":[[[7,8],true],[[],false]]}']
    expected = b"".join(hashlib.sha256(text).hexdigest()[:16].encode() + b" " + text + b"\n" for text in texts)
    assert (tmp_path / "j").read_bytes() == expected
    (found,) = Journal(tmp_path / "j", "k").done.values()
    assert [(one.token_ids, one.finished, len(one.logprobs)) for one in found] == [((7, 8), True, 0), ((), False, 0)]
