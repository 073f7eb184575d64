"""The reader of CSV files: what is taken whole, and what is refused by name of the cause."""

import codecs
import zipfile

import pytest

from leaderboard.errors import InputError
from leaderboard.io.tables import inert, name_fault, read_table


def read(tmp_path, content, *needed, **options):
    path = tmp_path / "t.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_table(path, *needed, **options)


def refusal(tmp_path, content, *needed):
    with pytest.raises(InputError) as caught:
        read(tmp_path, content, *needed)
    assert all(problem.startswith(str(tmp_path / "t.csv")) for problem in caught.value.problems)
    return caught.value.problems


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", [b"", codecs.BOM_UTF8])
def test_line_ends_and_a_byte_order_mark_change_nothing(tmp_path, end, mark):
    table = read(tmp_path, mark + end.join(["case,fold", "ä,1", "b,2", ""]).encode())
    assert table.columns == ("case", "fold")
    assert table.rows == [["ä", "1"], ["b", "2"]]


@pytest.mark.parametrize("blank", ["\n\n", ",\n,\n", " , \n"])
def test_blank_rows_are_left_out_and_others_keep_their_line(tmp_path, blank):
    table = read(tmp_path, f"case,fold\na,1\n{blank}b,2\n{blank}")
    assert table.rows == [["a", "1"], ["b", "2"]]
    assert table.lines == [2, 3 + blank.count("\n")]


def test_quoted_fields_hold_commas_quotes_and_line_breaks(tmp_path):
    table = read(tmp_path, 'case,note\na,"x, ""y""\nz"\nb,\n')
    assert table.rows == [["a", 'x, "y"\nz'], ["b", ""]]
    assert table.lines == [2, 4]


def test_columns_at_the_end_without_name_and_content_are_left_out(tmp_path):
    table = read(tmp_path, "case,fold,,\na,1,,\n")
    assert (table.columns, table.rows) == (("case", "fold"), [["a", "1"]])


def test_comments_are_left_out_where_they_are_allowed(tmp_path):
    table = read(tmp_path, "# made by hand\ncase,fold\n#a,1\nb,2\n", comments=True)
    assert (table.rows, table.lines) == ([["b", "2"]], [4])


def test_a_number_sign_within_quotation_marks_is_no_comment(tmp_path):
    table = read(tmp_path, '# made by hand\ncase,note\na,"x\n# y"\n# z\nb,#\n', comments=True)
    assert (table.rows, table.lines) == ([["a", "x\n# y"], ["b", "#"]], [3, 6])


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_utf16_is_told_with_and_without_a_byte_order_mark(tmp_path, encoding):
    (problem,) = refusal(tmp_path, "case,fold\na,1\n".encode(encoding))
    assert "but in UTF-16: save it as CSV in UTF-8" in problem


@pytest.mark.parametrize("formula", ["=HYPERLINK(0)", " +1+1", "@SUM(1)", "-a", "a;=1", "=1;=2"])
def test_a_formula_is_written_so_that_no_spreadsheet_executes_it(formula):
    assert name_fault(formula)
    assert name_fault(inert(formula).strip()) is None
    assert inert(formula).replace("'", "") == formula


@pytest.mark.parametrize("cell", ["", "a", "-1.5", "+2", "1e-3", "-inf", "a-b", "case_1"])
def test_numbers_and_other_cells_are_written_as_they_are(cell):
    assert inert(cell) == cell


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        ("case;fold\na;1\n", "separated by ';': save it with commas"),
        ("case\tfold\na\t1\n", "separated by tabs: save it with commas"),
        ("case|fold\na|1\n", "separated by '|': save it with commas"),
        ("case,fold\na,1\n".encode("utf-16"), "but in UTF-16: save it as CSV in UTF-8"),
        ("case,fold\na,1\n".encode("utf-16-le"), "but in UTF-16: save it as CSV in UTF-8"),
        ("case,fold\na,1\nMüller,1\n".encode("cp1252"), "is not a text file in UTF-8 (see line 3)"),
        ("", "is empty"),
        ("\n , \n", "is empty"),
        ("case,fold\na,1,2\n", ":2: has 3 fields where the table has 2 columns"),
        ("case,fold\na\n", ":2: has 1 of 2 fields"),
        ("case,case\na,b\n", "has the columns case more than once"),
        ("case,,fold\na,x,1\n", "column 2 has no name"),
        ('case,fold\na,"1\nb,2\n', ":2: is not a row of a table (a quotation mark is opened and never closed)"),
        (f"case,fold\na,1\n{'x' * 131_073},1\n", ":3: is not a row of a table (a field has more than 131072"),
        ('case,"fo\nld"\na,1\n', "holds a line break"),
        ("case,=fold\na,1\n", "the column '=fold' begins a spreadsheet's formula"),
        ("kase,fold\na,1\n", "lacks the column case (it has kase, fold): add it"),
    ],
)
def test_what_is_no_such_table_is_refused_by_name_of_the_cause(tmp_path, content, cause):
    (problem,) = refusal(tmp_path, content, "case", "fold")
    assert cause in problem
    assert len(problem) < 400


def test_every_row_of_the_wrong_length_is_told(tmp_path):
    problems = refusal(tmp_path, "case,fold\na\nb,1\nc,1,2\n")
    assert [problem.removeprefix(str(tmp_path / "t.csv")).split(": ")[0] for problem in problems] == [":2", ":4"]


@pytest.mark.parametrize("place", ["none.csv", "", "/dev/zero"])
def test_what_is_no_file_is_refused(tmp_path, place):
    with pytest.raises(InputError):
        read_table(tmp_path / place)


@pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@SUM(A1)", " =1", "a;=cmd", "a\tb", "a\rb", "a\nb", "a\u202eb"])
def test_names_that_break_a_table_or_run_in_a_spreadsheet_are_refused(name):
    assert name_fault(name)


@pytest.mark.parametrize("name", ["residual_unet", "a-b", "3D (a = 1)", "<b>x</b>", "Müller & Söhne", "a|[b]", "x, y"])
def test_other_names_are_taken(name):
    assert name_fault(name) is None


def test_a_workbook_is_told(tmp_path):
    path = tmp_path / "t.xlsx"
    with zipfile.ZipFile(path, "w") as book:
        book.writestr("xl/workbook.xml", "")
    with pytest.raises(InputError, match="is a spreadsheet file or another archive: save it as CSV"):
        read_table(path)


def test_another_kind_of_text_is_one_line(tmp_path):
    path = tmp_path / "my.yaml"
    path.write_text("cases:\n  - a, b\n  - c, d\n  - e, f\n")
    with pytest.raises(InputError) as caught:
        read_table(path, "case", "patient")
    assert caught.value.problems == [f"{path}: lacks the columns case, patient (it has cases:): add them"]


@pytest.mark.parametrize("name", [" a", "a ", "  "])
def test_a_name_has_no_spaces_at_its_ends(name):
    assert name_fault(name) == "begins or ends with a space: name it without"


def test_of_very_many_columns_those_that_are_twice_are_told(tmp_path):
    names = [f"c{number}" for number in range(20_000)]
    assert read(tmp_path, ",".join(names) + "\n").columns == tuple(names)
    (problem,) = refusal(tmp_path, ",".join([*names, "c7", "c19999"]) + "\n")
    assert "has the columns c7, c19999 more than once" in problem
