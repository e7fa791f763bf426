"""The registry of variants is frozen here: names, what differs from what, and how others add theirs."""

from __future__ import annotations

import dataclasses
import re
import subprocess
import sys
from pathlib import Path

import pytest

import ablations
from ablations.registry import Variant, register
from ilr_bench.core.config import RunConfig, change, from_dict, to_dict
from ilr_bench.core.errors import ConfigurationError
from ilr_bench.core.profiles import PROFILES, profile
from ilr_bench.core.registry import Registry
from ilr_bench.core.validation import validate
from ilr_bench.storage.provenance import trial_hash

NAMES = tuple(
    """
    base grpo grpo_matched ppo infer_single infer_debate infer_idea3
    ilr di_only pc_only pure_cooperative pure_competitive coin
    cooperation_0.0 cooperation_0.2 cooperation_0.4 cooperation_0.6 cooperation_0.8 cooperation_1.0
    random_matched agents_3 agents_4 twins train_fusion train_sharing
    pooled_baseline no_std batch_scale online_ability solve_rate_difficulty self_reflection peer_pooling
    """.split()
)
SAME = {"cooperation_0.0": "pure_competitive", "cooperation_1.0": "pure_cooperative"}


def made(name: str, profile_name: str = "micro") -> RunConfig:
    return ablations.get(name)(profile(profile_name))


def hash_of(name: str) -> str:
    config = made(name)
    return trial_hash(config, "0" * 12 if config.sampling.match_tokens_of else None)


def settings(config: RunConfig) -> dict[str, object]:
    """Dotted keys and values, labels left out."""
    flat = {}
    for key, value in to_dict(config).items():
        inner = value if isinstance(value, dict) else {"": value}
        flat.update({f"{key}.{name}".rstrip("."): setting for name, setting in inner.items()})
    return {key: value for key, value in flat.items() if key not in ("variant", "profile", "pool")}


def differences(one: RunConfig, other: RunConfig) -> dict[str, object]:
    first, second = settings(one), settings(other)
    return {key: second[key] for key in first if first[key] != second[key]}


def test_the_registry_holds_exactly_these_variants() -> None:
    assert ablations.names() == NAMES


def test_hashes_differ_but_for_the_pure_variants_under_their_ratios() -> None:
    hashes = {name: hash_of(name) for name in NAMES}
    for name, twin in SAME.items():
        assert hashes[name] == hashes[twin]
    distinct = {name: value for name, value in hashes.items() if name not in SAME}
    assert len(set(distinct.values())) == len(distinct)


@pytest.mark.parametrize("profile_name", PROFILES)
@pytest.mark.parametrize("name", NAMES)
def test_every_variant_is_valid_and_labelled_on_every_profile(name: str, profile_name: str) -> None:
    config = made(name, profile_name)
    assert validate(config) is config
    assert (config.variant, config.profile) == (name, profile_name)
    assert from_dict(to_dict(config)) == config


@pytest.mark.parametrize("name", NAMES)
def test_every_variant_says_what_it_is_and_who_asks_for_it(name: str) -> None:
    variant = ablations.get(name)
    assert variant.summary.endswith(".")
    assert re.match(r"(paper|reviewers|this laboratory)\b", variant.source)


SOLO = {"discussion.stages": ["sharing"], "discussion.trained_turns": "sharing"}
COIN = {"interaction.rule": "coin"}
BASE = {**SOLO, "calibration.kind": "none", "training.steps": 0}
PPO = {"critic.kind": "value_head", "advantages.scale": "none", "advantages.baseline": "none"}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("base", {**SOLO, "calibration.kind": "none", "training.steps": 0}),
        ("grpo", {**SOLO, "calibration.kind": "none"}),
        ("grpo_matched", {**SOLO, "calibration.kind": "none", "sampling.match_tokens_of": "ilr"}),
        ("di_only", {"calibration.kind": "none"}),
        ("pc_only", SOLO),
        ("pure_cooperative", {**COIN, "interaction.cooperation_ratio": 1.0}),
        ("pure_competitive", {**COIN, "interaction.cooperation_ratio": 0.0}),
        ("coin", {**COIN, "interaction.cooperation_ratio": 0.5}),
        ("cooperation_0.4", {**COIN, "interaction.cooperation_ratio": 0.4}),
        ("random_matched", {"interaction.rule": "matched_coin"}),
        ("agents_3", {"models": ["A", "B", "C"]}),
        ("agents_4", {"models": ["A", "B", "C", "A2"]}),
        ("twins", {"models": ["A", "A"]}),
        ("train_fusion", {"discussion.trained_turns": "fusion"}),
        ("train_sharing", {"discussion.trained_turns": "sharing"}),
        ("pooled_baseline", {"advantages.baseline": "agents"}),
        ("no_std", {"advantages.scale": "none"}),
        ("batch_scale", {"advantages.scale": "batch"}),
        ("online_ability", {"interaction.ability": "online"}),
        ("solve_rate_difficulty", {"difficulty.source": "solve_rate"}),
        ("self_reflection", {"calibration.kind": "none", "discussion.hears": "itself"}),
        ("peer_pooling", {**SOLO, "calibration.kind": "none", "pooling.kind": "successes"}),
        ("ppo", {**SOLO, **PPO, "calibration.kind": "none"}),
        ("infer_single", {**BASE, "inference.method": "single"}),
        ("infer_debate", {**BASE, "inference.method": "debate"}),
        ("infer_idea3", {**BASE, **COIN, "interaction.cooperation_ratio": 1.0, "inference.method": "idea3"}),
    ],
)
def test_a_variant_differs_from_ilr_in_nothing_else(name: str, expected: dict[str, object]) -> None:
    assert differences(made("ilr"), made(name)) == expected


@pytest.mark.parametrize(
    ("name", "before", "after"),
    [
        ("coin", {"interaction.rule": "coin", "interaction.cooperation_ratio": 0.2},
         {"interaction.cooperation_ratio": 0.2}),
        ("coin", {"interaction.rule": "coin", "interaction.cooperation_ratio": 0.0},
         {"interaction.cooperation_ratio": 0.0}),
        ("coin", {}, {"interaction.rule": "coin", "interaction.cooperation_ratio": 0.5}),
        ("grpo", {"discussion.dialogues_per_question": 3}, {"discussion.dialogues_per_question": 1}),
        ("base", {"training.steps": 7}, {"training.steps": 0}),
        ("infer_single", {"evaluation.samples": 8}, {"evaluation.samples": 1, "training.steps": 0}),
        ("infer_debate", {"evaluation.samples": 8}, {"evaluation.samples": 1}),
        ("infer_idea3", {"evaluation.samples": 8}, {"evaluation.samples": 1, "interaction.cooperation_ratio": 1.0}),
        ("ilr", {"interaction.rule": "coin", "calibration.kind": "none", "discussion.stages": ("sharing",)},
         {"interaction.rule": "irt", "calibration.kind": "perception",
          "discussion.stages": ["sharing", "analysis", "fusion"]}),
        ("pc_only", {"calibration.kind": "none"}, {"calibration.kind": "perception"}),
        ("ppo", {"advantages.baseline": "agents"}, {"advantages.baseline": "none", "advantages.scale": "none"}),
    ],
)  # fmt: skip
def test_a_variant_states_what_it_needs_whatever_was_set_before(
    name: str, before: dict[str, object], after: dict[str, object]
) -> None:
    found = settings(ablations.get(name)(change(profile("micro"), before)))
    assert {key: found[key] for key in after} == after


def test_a_variant_of_an_unnamed_source_is_its_modules() -> None:
    def shown(config: RunConfig) -> RunConfig:
        """First line.

        Another line.
        Source: reviewers (why?)
        """
        return config

    def plain(config: RunConfig) -> RunConfig:
        """Only line."""
        return config

    for make, summary, source in (
        (shown, "First line.", "reviewers (why?)"), (plain, "Only line.", plain.__module__)
    ):  # fmt: skip
        made = Variant("x", "", "", make)
        assert made(profile("micro")).variant == "x"
        registry: Registry[Variant] = Registry("variant")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("ablations.registry.VARIANTS", registry)
            found = register(make, name="given")
            assert (found.name, found.summary, found.source) == ("given", summary, source)
            assert registry.names() == ("given",)
            assert register(make).name == make.__name__
            assert register(name="third")(make).name == "third"


def test_more_agents_come_from_the_pool_in_its_order() -> None:
    pair = dataclasses.replace(profile("micro"), models=("B", "C"))
    assert ablations.get("agents_3")(pair).models == ("B", "C", "A")
    assert ablations.get("agents_4")(profile("small")).agents == tuple(f"smollm2.{number}" for number in (1, 2, 3, 4))
    with pytest.raises(ConfigurationError, match=r"agents_4.*name more in `pool`"):
        ablations.get("agents_4")(dataclasses.replace(pair, pool=("A",)))


def test_a_miss_says_what_was_meant() -> None:
    with pytest.raises(ConfigurationError, match="did you mean pure_cooperative"):
        ablations.get("pure_coperative")


def test_a_variant_that_does_not_apply_is_named() -> None:
    with pytest.raises(ConfigurationError, match=r"variant ilr: discussion\.stages.*two agents"):
        ablations.get("ilr")(dataclasses.replace(profile("micro"), models=("A",)))


def test_a_taken_name_and_a_missing_docstring_are_refused() -> None:
    def ilr(config: RunConfig) -> RunConfig:
        """Another one."""
        return config

    def silent(config: RunConfig) -> RunConfig:
        return config

    ablations.names()
    with pytest.raises(ConfigurationError, match="'ilr' is registered twice"):
        register(ilr)
    with pytest.raises(ConfigurationError, match="'silent' has no docstring"):
        register(silent)
    assert ablations.names() == NAMES


# --- what a trial's hash counts ---------------------------------------------------------------------------------------


def test_labels_do_not_change_a_trial_and_settings_do() -> None:
    config = made("ilr")
    labelled = dataclasses.replace(config, variant="other", profile="mine", pool=("B",))
    assert trial_hash(labelled) == trial_hash(config)
    for key, value in {"seed": 1, "models": "B+A", "training.steps": 31, "reward.step_weight": 0.4}.items():
        assert trial_hash(change(config, {key: value})) != trial_hash(config)


def test_a_matched_trial_is_known_before_its_samples_are() -> None:
    config = made("grpo_matched")
    resolved = change(config, {"sampling.samples_per_agent": "19+23"})
    assert trial_hash(resolved, "aaa") == trial_hash(config, "aaa") != trial_hash(config, "bbb")
    assert trial_hash(change(made("grpo"), {"sampling.samples_per_agent": "19+23"})) != hash_of("grpo")
    with pytest.raises(ValueError, match="dependency"):
        trial_hash(config)
    with pytest.raises(ValueError, match="dependency"):
        trial_hash(made("grpo"), "aaa")


# --- variants of other packages ---------------------------------------------------------------------------------------

PAGE = (Path(__file__).parents[2] / "docs" / "adding-a-variant.md").read_text(encoding="utf-8")


def install(folder: Path, code: str, points: str) -> None:
    """What an installed package looks like on the path."""
    (folder / "my_variants.py").write_text(code)
    info = folder / "my_variants-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my-variants\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[ilr_bench.variants]\n{points}\n")


def ask(folder: Path, code: str) -> str:
    command = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(folder)!r})\n{code}"]
    process = subprocess.run(command, capture_output=True, text=True, timeout=60)
    return process.stdout + process.stderr


APPLY = """
import ablations
from ilr_bench.core.profiles import profile
config = ablations.get({name!r})(profile("micro"))
print(config.variant, config.sampling.temperature, config.reward.format_weight, config.calibration.kind)
print(ablations.get({name!r}).source, "my_variants" in sys.modules, len(ablations.names()))
"""


def test_the_page_on_adding_a_variant_works_as_printed_in_at_most_15_lines(tmp_path: Path) -> None:
    code = re.search(r"```python\n(.*?)```", PAGE, re.DOTALL)[1]
    point = re.search(r"```toml\n\[.*?\]\n(.*?)\n```", PAGE, re.DOTALL)[1]
    assert len([line for line in code.splitlines() if line.strip()]) <= 15
    install(tmp_path, code, point.replace('"', ""))
    assert ask(tmp_path, APPLY.format(name="hot_and_formless")) == (
        f"hot_and_formless 1.2 0.0 perception\nus True {len(NAMES) + 1}\n"
    )


TWO = '''
import ablations
from ilr_bench.core.config import change

@ablations.register
def one(config):
    """One."""
    return change(config, {"sampling.temperature": 0.7})

@ablations.register(name="two")
def second(config):
    """Two."""
    return change(one(config), {"reward.format_weight": 0.5})
'''


def test_one_module_may_hold_several_variants_made_from_each_other(tmp_path: Path) -> None:
    install(tmp_path, TWO, "one = my_variants:one\ntwo = my_variants:second")
    assert ask(tmp_path, APPLY.format(name="two")).startswith("two 0.7 0.5")
    early = "import my_variants" + APPLY.format(name="one")
    assert ask(tmp_path, early).startswith("one 0.7 0.1")


def test_names_of_other_packages_are_listed_without_importing_them(tmp_path: Path) -> None:
    install(tmp_path, "raise SystemExit('imported')", "one = my_variants:one")
    assert ask(tmp_path, "import ablations; print(ablations.names()[-1])") == "one\n"


@pytest.mark.parametrize(
    ("code", "point", "message"),
    [
        ("import nowhere_to_be_found", "one = my_variants:one", "of my-variants cannot be loaded"),
        ("x = 1", "one = my_variants:one", "of my-variants cannot be loaded"),
        ("one = lambda config: config", "one = my_variants:one", "decorate it: @ablations.register"),
    ],
    ids=["import fails", "no such name", "not a variant"],
)
def test_a_package_that_is_wrong_is_named(tmp_path: Path, code: str, point: str, message: str) -> None:
    install(tmp_path, code, point)
    last_line = ask(tmp_path, f"import ablations; ablations.get({point.split()[0]!r})").splitlines()[-1]
    assert last_line.startswith("ilr_bench.core.errors.ConfigurationError: variant ")
    assert message in last_line


def test_a_package_cannot_take_a_name_that_is_taken(tmp_path: Path) -> None:
    install(tmp_path, TWO, "ilr = my_variants:one")
    asked = "import ablations; print(ablations.get('ilr').source, *ablations.VARIANTS.conflicts(), sep='; ')"
    assert ask(tmp_path, asked).strip() == (
        "paper, sections 3.1 to 3.3; variant 'ilr' of my-variants is left out: the name is taken; rename one of them"
    )
