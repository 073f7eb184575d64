// Tables as CSV and LaTeX: the rows that are shown, numbers as they are printed.

// A table as rows of texts: headings without their remarks, of hidden words those that name a column.
const cellText = (cell) => {
  const copy = cell.cloneNode(true);
  if (cell.tagName === "TH" && copy.querySelector(".hidden")) return copy.querySelector(".hidden").textContent;
  for (const item of copy.querySelectorAll(".hidden, thead small")) item.remove();
  if (cell.closest("thead")) for (const item of copy.querySelectorAll("small")) item.remove();
  for (const item of copy.querySelectorAll("small")) item.prepend(" ");
  return copy.textContent.replace(/\s+/g, " ").trim();
};
const rowsOf = (table) => [...table.rows]
  .filter((row) => (table.id === "case-table" ? !row.classList.contains("unfit") : !row.hidden))
  .map((row) => [...row.cells].filter((cell) => !cell.hidden).map(cellText));
const csvField = (text) => {
  const value = parse(text);
  const plain = text === "–" ? "" : Number.isNaN(value) || !/[−×]/.test(text) ? text : String(value);
  const safe = Number.isNaN(value) && /^[=+\-@\t\r]/.test(plain) ? `'${plain}` : plain; // no spreadsheet runs it
  return /[",\n]/.test(safe) ? `"${safe.replace(/"/g, '""')}"` : safe;
};
const csv = (table) => rowsOf(table).map((row) => row.map(csvField).join(",")).join("\n") + "\n";
const special = {
  "\\": "\\textbackslash{}", "&": "\\&", "%": "\\%", "$": "\\$", "#": "\\#", "_": "\\_", "{": "\\{", "}": "\\}",
  "~": "\\textasciitilde{}", "^": "\\textasciicircum{}", "<": "\\textless{}", ">": "\\textgreater{}",
  "|": "\\textbar{}", "−": "$-$", "–": "--", "×": "$\\times$", "·": "$\\cdot$", "±": "$\\pm$", "≥": "$\\geq$",
  "τ": "$\\tau$", "→": "$\\to$",
};
const power = (letter) => ("⁰¹²³⁴⁵⁶⁷⁸⁹".includes(letter) ? `$^{${"⁰¹²³⁴⁵⁶⁷⁸⁹".indexOf(letter)}}$` : letter);
const latexField = (text) => [...text].map((letter) => special[letter] || power(letter)).join("");
const latex = (table) => {
  const [head, ...body] = rowsOf(table).map((row) => row.map(latexField).join(" & ") + " \\\\");
  const alignment = [...table.rows[0].cells].filter((cell) => !cell.hidden)
    .map((cell, column) => (column && cell.dataset.type !== "text" ? "r" : "l")).join("");
  const lines = [`\\begin{tabular}{${alignment}}`, "\\toprule", head, "\\midrule", ...body, "\\bottomrule"];
  return [...lines, "\\end{tabular}", ""].join("\n");
};
for (const table of document.querySelectorAll(".scroll table:not([data-saved])")) {
  const [name, region] = [nameOf(table), table.closest(".scroll")];
  const label = region.getAttribute("aria-label").split(",")[0];
  buttons(region, [
    ["Save CSV", label, () => save(`${name}.csv`, "text/csv", csv(table))],
    ["Save LaTeX", label, () => save(`${name}.tex`, "text/x-tex", latex(table))],
  ]);
}
