"""The site file: where it is looked for, and what cannot stand in it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from hpcdl import site as sites
from hpcdl.errors import Mistake
from hpcdl.site import Site, Slurm

DIRECTIVES = sorted(name for name, field in Slurm.model_fields.items() if field.annotation == str | None)
control = st.characters(categories=("Cc",), max_codepoint=127)


@pytest.fixture(autouse=True)
def _own_configuration(monkeypatch, tmp_path):
    monkeypatch.delenv(sites.ENVIRONMENT_VARIABLE, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


@given(st.sampled_from(DIRECTIVES), st.text(max_size=5), control, st.text(max_size=5))
def test_control_characters_are_refused_in_every_directive(name, before, char, after):
    with pytest.raises(ValidationError, match="control characters"):
        Slurm.model_validate({name: before + char + after})


@given(st.text(max_size=5), control)
def test_control_characters_are_refused_in_options(before, char):
    with pytest.raises(ValidationError, match="control characters"):
        Slurm(options={"comment": before + char})


@pytest.mark.parametrize("name", ["", "-", "a b", "a=b", "a\nb", "a;b", "é!", "--comment x"])
def test_what_is_no_option_name_is_refused(name):
    with pytest.raises(ValidationError, match="not the name of an sbatch option"):
        Slurm(options={name: "x"})


@pytest.mark.parametrize("name", ["comment", "spread-job", "mail-type"])
def test_option_names_are_taken(name):
    assert Slurm(options={name: True}).options == {name: True}


@pytest.mark.parametrize("name", ["1A", "A-B", "A B", "", "A=B"])
def test_what_is_no_variable_name_is_refused(name):
    with pytest.raises(ValidationError):
        Site.model_validate({"setup": {"environment": {name: "x"}}})


def test_without_a_file_all_is_default():
    assert sites.load() == (Site(), None)


def test_the_users_own_file_is_found(tmp_path):
    path = tmp_path / "config" / "hpcdl" / "site.toml"
    path.parent.mkdir(parents=True)
    path.write_text('name = "juno"\n[node]\ngpus = 4\n', encoding="utf-8")
    site, source = sites.load()
    assert (site.name, site.kind, source) == ("juno", "gpu", path)


def test_the_variable_names_a_file_and_the_argument_stands_above_it(monkeypatch, tmp_path):
    for name in ("one", "two"):
        (tmp_path / f"{name}.toml").write_text(f'name = "{name}"\n', encoding="utf-8")
    monkeypatch.setenv(sites.ENVIRONMENT_VARIABLE, str(tmp_path / "one.toml"))
    assert sites.load()[0].name == "one"
    assert sites.load(tmp_path / "two.toml")[0].name == "two"


def test_a_named_file_that_is_missing_is_a_mistake(monkeypatch, tmp_path):
    with pytest.raises(Mistake, match=r"no site file .*absent\.toml"):
        sites.load(tmp_path / "absent.toml")
    monkeypatch.setenv(sites.ENVIRONMENT_VARIABLE, str(tmp_path / "gone.toml"))
    with pytest.raises(Mistake, match=r"gone\.toml"):
        sites.load()


def test_an_unknown_key_deep_in_the_site_is_told_with_the_nearest(tmp_path):
    path = tmp_path / "site.toml"
    path.write_text('[slurm]\npartitoin = "gpu"\n', encoding="utf-8")
    with pytest.raises(Mistake, match=r"site\.toml.*'slurm\.partitoin'\. Did you mean 'partition'\?"):
        sites.load(path)
