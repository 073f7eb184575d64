"""Every wrong use ends in one clear line and status 1 or 2, never in a traceback."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from benchmark.cli import _parsed, main

METHODS = ["run", "--config", "twin", "--methods"]


def call(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    try:
        status = main(list(arguments))
    except SystemExit as error:
        status = int(error.code or 0)
    text = capsys.readouterr()
    assert "Traceback" not in text.out + text.err
    return status, text.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "--config", "isles2018"], "needs a cohort"),
        (["run", "--config", "nothing"], "no such config"),
        (["run", "--config", "twin", "--cohort", "nowhere"], "does not exist"),
        (["run", "--config", "twin", "--cohort", "."], "holds no cases (in any format"),
        (["run", "--config", "twin", "--out", ""], "--out: is empty: give a path"),
        (["run", "--config", "twin", "--out", "my.yaml"], "my.yaml: is a file: give another --out"),
        (
            ["run", "--config", "twin", "--methods", "strokenet", "--set", "data.batch_size=-3"],
            "data.batch_size must be at least 1: correct --set data.batch_size",
        ),
        (
            ["predict-cohort", "--run", ".", "--cohort", ".", "--out", "out", "--name", "a/../../b"],
            "--name 'a/../../b'",
        ),
        (["verify", "my.yaml"], "my.yaml: holds no finished job"),
        (["sanity", "perfusion_t38"], "perfusion_t38: is a rule without weights"),
        (["sanity", "strokenet", "--cohort", "nowhere"], "nowhere: does not exist"),
        (
            ["fit", "--config", "method.yaml", "--data.cohort", "."],
            "method.yaml: model.class_path: no_such_method.Mine: there is no module no_such_method: put the folder",
        ),
        (["fit", "--config", "nowhere.yaml"], "nowhere.yaml: cannot be read"),
        (
            ["fit", "--trainer.max_epochs", "many", "--data.cohort", "."],
            "benchmark fit: trainer.max_epochs: Expected an",
        ),
        (["fit", "--no_such_option"], "benchmark fit: "),
        (["check", "nowhere"], "does not exist"),
        (["check", "."], "holds no cases (in any format"),
        (["twin", "out", "--cases", "0", "--size", "64"], "cases"),
        (["twin", "out", "--cases", "95", "--size", "64"], "cases"),
        (["twin", "out", "--cases", "2", "--size", "1"], "size"),
        (["predict-cohort", "--run", "nowhere", "--cohort", ".", "--out", "out"], "holds no finished job"),
        (["predict-cohort", "--run", ".", "--cohort", ".", "--out", "out", "--name", "a/b"], "give one without /"),
        (["run", "--config", "twin", "--set", "data.fold=1"], "--set data.fold: is the suite's own: give --folds"),
        (["run", "--config", "twin", "--set", "data.cohort=x"], "is the suite's own: give --cohort"),
        (["run", "--config", "."], "is a folder, not a config"),
        (["cancel", "--config", "twin", "--methods", "nothing"], "unknown method"),
        (["cost", "--methods", "all_background", "--out", "."], ".: is a folder: give the name of a file"),
        (["job", "nowhere"], "nowhere/config.yaml: cannot be read (No such file or directory): check the file"),
        (["export-nnunet", ".", "out", "--folds", "."], "holds no cases (in any format"),
        (["verify", "."], "holds no finished job"),
        (["fetch", "isles2023", "out"], "did you mean isles2024? choose isles2018, isles2022, isles2024"),
        (["twin", "out", "--cases", "many", "--size", "64"], "--cases: 'many' is not a whole number"),
        (["twin", "out", "--cases", "2", "--size", "64", "--jobs", "0"], "--jobs: 0"),
        (["twin", "out", "--cases", "2", "--size", "64", "--seed", "-1"], "--seed: -1"),
        (["run", "--config", "twin", "--folds", "a"], "no list of whole numbers"),
        (["run", "--config", "twin", "--set", "epochs"], "is not of the form section.key=value"),
        (["run", "--config", "twin", "--launcher", "cloud"], "choose local, slurm"),
        (["check", ".", "--partition", "both"], "choose training, testing"),
        (["sanity", "strokenet", "--epochs", "0"], "--epochs"),
        (["sanity", "strokenet", "--steps", "1"], "--steps"),
        (["cost", "--size", "0"], "--size"),
        (["export-nnunet", ".", "out", "--folds", "f", "--number", "1000"], "--number"),
    ],
)
def test_input_at_fault_is_one_line_and_status_1(
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    words: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("my.yaml").touch()
    Path("method.yaml").write_text("model: {class_path: no_such_method.Mine}")
    status, text = call(capsys, *arguments)
    assert status == 1
    assert len(text.splitlines()) == 1
    assert text.startswith("benchmark: ")
    assert words in text


def test_the_end_looks_for_no_garbage_in_what_was_imported() -> None:
    script = (
        "import atexit, gc; atexit.register(lambda: print(gc.get_freeze_count(), len(gc.get_objects())));"
        "from benchmark.cli import main; main(['verify', 'nowhere'])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    frozen, left = map(int, done.stdout.split())
    assert frozen > 100 * left


#: Wrong paths and names, which are found in the blink of an eye.
AT_ONCE = (
    ["verify", "nowhere"],
    ["predict-cohort", "--run", "nowhere", "--cohort", ".", "--out", "out"],
    ["predict-cohort", "--run", "nowhere", "--cohort", ".", "--out", "out", "--name", "a/../../b"],
    ["run", "--config", "twin", "--cohort", "nowhere"],
    ["run", "--config", "twin", "--out", __file__],
    ["run", "--config", "twin", "--methods", "nothing"],
    ["sanity", "nothing"],
    ["sanity", "strokenet", "--cohort", "nowhere"],
    ["sanity", "all_background"],  # there is nothing to learn
    ["sanity", "perfusion_tfit"],
    ["sanity", "adc_threshold"],
)


def test_wrong_paths_and_names_are_told_before_torch_is_imported() -> None:
    script = (
        f"import sys; from benchmark.cli import main; print([main(arguments) for arguments in {AT_ONCE!r}]);"
        "print({'torch', 'wandb', 'pytorch_lightning'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [str([1] * len(AT_ONCE)), "set()"]
    assert len(done.stderr.splitlines()) == len(AT_ONCE)


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["nothing"],
        ["run"],
        ["twin", "out"],
        ["predict-cohort"],
        ["fetch", "isles2022"],
        ["check", ".", "--colour"],
        ["fit"],
        ["predict"],
    ],
)
def test_wrong_usage_is_one_line_and_status_2(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    status, text = call(capsys, *arguments)
    assert (status, len(text.splitlines())) == (2, 1)
    assert text.startswith("benchmark: ")


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        (["rum"], "run"),
        (["run", "--confg", "twin"], "--config"),
        (["run", "--config", "twinn"], "twin"),
        (["run", "--config", "twin", "--methods", "strokenett"], "strokenet"),
        (["cancel", "--config", "twin", "--methods", "plain-unet"], "plain_unet"),
        (["run", "--config", "twin", "--launcher", "slrum"], "slurm"),
        (["run", "--config", "twin", "--set", "trainr.max_epochs=1"], "trainer"),
        (["run", "--config", "twin", "--set", "trainer.max_epoch=1", "--methods", "strokenet"], "max_epochs"),
        (["run", "--config", "twin", "--set", "data.batchsize=1", "--methods", "strokenet"], "batch_size"),
    ],
)
def test_the_nearest_name_is_suggested(
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    meant: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    text = call(capsys, *arguments)[1]
    assert len(text.splitlines()) == 1
    assert f"did you mean {meant}?" in text


def test_what_has_no_option_may_be_named_by_one(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    for arguments in (
        ["check", "--cohort", "nowhere"],
        ["verify", "--run=nowhere"],
        ["export-nnunet", "--out", "out", "--folds", "f", "--cohort", "nowhere"],
        ["export-nnunet", "nowhere", "--out", "out", "--folds", "f"],
    ):
        status, text = call(capsys, *arguments)
        assert status == 1
        assert text.startswith("benchmark: nowhere")
    assert main(["twin", "--cases", "2", "--size", "32", "--jobs", "1", "--out", str(tmp_path / "twin")]) == 0
    assert (tmp_path / "twin" / "TRAINING").is_dir()


@pytest.fixture
def tree(twin: Path, tmp_path: Path) -> Path:
    for number in (20, 21):
        shutil.copytree(twin / "TRAINING" / f"case_{number}", tmp_path / "tree" / "TRAINING" / f"case_{number}")
    return tmp_path / "tree"


def test_unknown_methods_and_folds_are_named(capsys: pytest.CaptureFixture[str], tree: Path, tmp_path: Path) -> None:
    common = ["run", "--config", "twin", "--cohort", str(tree), "--out", str(tmp_path / "runs")]
    status, text = call(capsys, *common, "--methods", "unet")
    assert (status, "unet: unknown method" in text) == (1, True)
    status, text = call(capsys, *common, "--folds", "9")
    assert (status, "no such fold" in text) == (1, True)


@pytest.mark.parametrize(
    "arguments",
    [["--folds", "7"], ["--folds", "0,2"], ["--methods", "unet"], ["--set", "trainer.max_epoch=1"]],
    ids=" ".join,
)
def test_what_cannot_be_run_is_refused_before_a_twin_is_written_and_leaves_nothing(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, arguments: list[str]
) -> None:
    common = ["run", "--config", "twin", "--methods", "all_background", "--out", str(tmp_path / "runs")]
    assert call(capsys, *common, *arguments)[0] == 1
    assert not any(tmp_path.iterdir())


def test_a_cohort_that_is_refused_leaves_no_folder_but_keeps_one_that_was_there(
    capsys: pytest.CaptureFixture[str], tree: Path, tmp_path: Path
) -> None:
    shutil.rmtree(tree / "TRAINING" / "case_21")  # one patient makes no two folds
    common = ["run", "--config", "twin", "--cohort", str(tree), "--out", str(tmp_path / "out" / "runs")]
    assert call(capsys, *common)[0] == 1
    assert not (tmp_path / "out").exists()
    (tmp_path / "out" / "runs").mkdir(parents=True)
    assert call(capsys, *common)[0] == 1
    assert list((tmp_path / "out").rglob("*")) == [tmp_path / "out" / "runs"]


def test_a_missing_package_is_told_with_what_installs_it_in_the_clone(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    status, text = call(capsys, "run", "--config", "twin")
    assert status == 1
    assert "needs torch, pytorch_lightning, torchio: in the project's clone, pip install " in text
    assert text.endswith(" -e '.[train]'\n")


def test_a_text_file_renamed_nii_is_named(capsys: pytest.CaptureFixture[str], tree: Path, tmp_path: Path) -> None:
    path = next((tree / "TRAINING" / "case_20").glob("*CT_CBV*/*.nii"))
    path.write_text("these are no voxels")
    status, text = call(capsys, "run", "--config", "twin", "--cohort", str(tree), "--out", str(tmp_path / "runs"))
    assert status == 1
    assert len(text.splitlines()) == 1
    assert str(path) in text
    assert call(capsys, "check", str(tree))[0] == 1


def test_output_that_is_a_file_is_one_line(capsys: pytest.CaptureFixture[str], tree: Path, tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("")
    status, text = call(capsys, "run", "--config", "twin", "--cohort", str(tree), "--out", str(tmp_path / "runs"))
    assert status == 1
    assert f"{tmp_path / 'runs'}: is a file: give another --out" in text


def test_a_leaky_fold_file_is_refused_unless_allowed(
    capsys: pytest.CaptureFixture[str], twin: Path, tmp_path: Path
) -> None:
    for number in (18, 19):
        shutil.copytree(twin / "TRAINING" / f"case_{number}", tmp_path / "tree" / "TRAINING" / f"case_{number}")
    (tmp_path / "folds.csv").write_text("case,patient,fold,lesion_ml\ncase_18,14,0,\ncase_19,14,1,\n")
    (tmp_path / "suite.yaml").write_text("folds: {file: folds.csv}\nmethods: [all_background]\n")
    common = ["run", "--config", str(tmp_path / "suite.yaml"), "--cohort", str(tmp_path / "tree")]
    common += ["--out", str(tmp_path / "runs")]
    status, text = call(capsys, *common)
    assert status == 1
    assert "14" in text
    assert "no such fold" in call(capsys, *common, "--allow-leaky-folds", "--folds", "7")[1]  # it read the file
    (tmp_path / "suite.yaml").write_text("cohort: {twin: {cases: 94, size: 256}}\nmethods: [nothing]\n")
    assert "unknown method" in call(capsys, *common[:3], *common[5:])[1]
    assert not (tmp_path / "runs" / "suite" / "cohort").exists()  # no cohort is made for a name that is none


def test_twin_and_check_agree(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["twin", str(tmp_path / "out"), "--cases", "2", "--size", "32", "--jobs", "1"]) == 0
    assert main(["check", str(tmp_path / "out")]) == 0
    assert "2 cases, 1 patient" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["run", "twin", "check", "predict-cohort"])
def test_every_command_has_help(capsys: pytest.CaptureFixture[str], command: str) -> None:
    assert call(capsys, command, "--help")[0] == 0


@pytest.mark.parametrize("arguments", [["--help"], ["cost", "--methods", "no_such_method"]], ids=" ".join)
def test_help_and_refusals_do_not_wait_for_torch(arguments: list[str]) -> None:
    code = (
        "import sys; from benchmark.cli import main\n"
        f"try: sys.exit(main({arguments}))\n"
        "except SystemExit: print('torch' in sys.modules)"
    )
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path))
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert result.stdout.strip().endswith("False")


@pytest.mark.parametrize(("given", "taken"), [(None, "AVX512_CORE_BF16"), ("DEFAULT", "DEFAULT")])
def test_cpus_compute_without_amx_unless_the_environment_says_so(
    given: str | None, taken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA", raising=False)
    if given:
        monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", given)
    else:
        monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "")  # so that what main sets is taken back
        monkeypatch.delenv("ONEDNN_MAX_CPU_ISA")
    with pytest.raises(SystemExit):
        main(["--version"])
    assert os.environ["ONEDNN_MAX_CPU_ISA"] == taken


def test_what_is_named_twice_is_taken_once() -> None:
    options = _parsed(["run", "--config", "twin", "--methods", "b,a,b", "--folds", "1,0,1", "--seeds", "0,0"])
    assert (options.methods, options.folds, options.seeds) == (("b", "a"), (1, 0), (0,))
