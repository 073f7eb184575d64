// Sorting: numbers by size, text in natural order, empty cells last in both directions.
const collator = new Intl.Collator("en", { numeric: true });
const parse = (text) => {
  const plain = text.replace(/−/g, "-").replace(/×10([⁰¹²³⁴⁵⁶⁷⁸⁹]+)/, (_, digits) =>
    "e" + [...digits].map((digit) => "⁰¹²³⁴⁵⁶⁷⁸⁹".indexOf(digit)).join(""));
  return plain === "" || plain === "–" ? NaN : Number(plain);
};
const keyOf = (cell, numeric) => {
  const text = "v" in cell.dataset ? cell.dataset.v : cell.textContent.trim();
  return numeric ? parse(text) : text;
};
const sort = (table, head) => {
  const column = [...head.parentNode.children].indexOf(head);
  const numeric = head.dataset.type !== "text";
  const current = head.getAttribute("aria-sort");
  const start = head.dataset.first || "ascending";
  const direction = current === "none" ? start : current === "ascending" ? "descending" : "ascending";
  const sign = direction === "ascending" ? 1 : -1;
  const body = table.tBodies[0];
  const rows = [...body.rows].map((row) => [keyOf(row.cells[column], numeric), row]);
  const lacking = (key) => (numeric ? Number.isNaN(key) : key === "" || key === "–");
  rows.sort(([a], [b]) => lacking(a) - lacking(b) || (lacking(a) ? 0 : sign * (numeric ? a - b : collator.compare(a, b))));
  body.append(...rows.map(([, row]) => row));
  for (const other of head.parentNode.children) {
    if (other.hasAttribute("aria-sort")) other.setAttribute("aria-sort", other === head ? direction : "none");
  }
  say(`Sorted by ${head.dataset.name}, ${direction}.`);
  table.dispatchEvent(new Event("sorted"));
};
for (const table of document.querySelectorAll("table[data-sortable]")) {
  for (const head of table.querySelectorAll("th[aria-sort]")) {
    head.querySelector("button").addEventListener("click", () => sort(table, head));
  }
}

// The table of cases: search, filters, and no more rows at once than a reader wants.
const cases = document.getElementById("case-table");
if (cases) {
  const page = 50;
  const search = document.getElementById("search");
  const method = document.getElementById("by-method");
  const status = document.getElementById("by-status");
  const count = document.getElementById("count");
  const more = document.getElementById("more");
  const texts = new Map([...cases.tBodies[0].rows].map((row) =>
    [row, [0, 1, 9, 10].map((column) => row.cells[column].textContent.trim().toLowerCase())]));
  let limit = page;
  // A number means a whole case or patient number: 1 is not 10, and case_1 is not case_10.
  const fitsWord = ([name, id, state, patient], word) => name.includes(word) || state.includes(word)
    || (/^\d+$/.test(word) ? id.split("_").includes(word) || patient === word
      : /_\d+$/.test(word) ? id === word : id.includes(word) || patient.includes(word));
  const show = () => {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    let found = 0;
    for (const row of cases.tBodies[0].rows) {
      const text = texts.get(row);
      const fits = !unchosen.has(row.cells[0].textContent) && (!method.value || text[0] === method.value.toLowerCase())
        && (!status.value || text[2] === status.value)
        && words.every((word) => fitsWord(text, word));
      row.hidden = !fits || found >= limit;
      row.classList.toggle("unfit", !fits);
      found += fits;
    }
    const shown = Math.min(found, limit);
    count.textContent = found ? `${shown} of ${found} row${found === 1 ? "" : "s"} shown` : "No row fits.";
    more.hidden = shown === found;
  };
  const again = () => { limit = page; show(); };
  search.addEventListener("input", again);
  method.addEventListener("change", again);
  status.addEventListener("change", again);
  more.addEventListener("click", () => { limit = Infinity; show(); });
  cases.addEventListener("sorted", show);
  let unchosen = new Set();
  cases.addEventListener("chosen", () => {
    unchosen = new Set([...document.querySelectorAll("#chooser input:not(:checked)")].map((box) =>
      box.dataset.name));
    again();
  });
  show();
}
