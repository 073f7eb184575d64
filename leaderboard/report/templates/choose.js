// Methods chosen by click: whatever carries the place of a method that is not chosen is hidden, and figures close up.
const chooser = document.getElementById("chooser");
if (chooser) {
  const boxes = [...chooser.querySelectorAll("input")];
  const ofMethod = boxes.map(() => []);
  for (const item of document.querySelectorAll("[data-m]")) ofMethod[item.dataset.m].push(item);
  const matrixRows = [...document.querySelectorAll(".matrix")].flatMap((matrix) => [...matrix.rows]);
  const grids = [...document.querySelectorAll("svg[data-grid]")].map((svg) => {
    const [columns, across, down] = svg.dataset.grid.split(" ").map(Number);
    const items = [...svg.querySelectorAll("[data-m]")];
    const { width, height } = svg.viewBox.baseVal;
    const count = new Set(items.map((item) => item.dataset.m)).size;
    return { svg, items, columns, across, down, width, height, count };
  });
  // A figure's methods are the first of the ranking, so a method's place is its place in the figure too.
  const closeUp = ({ svg, items, columns, across, down, width, height, count }, chosen) => {
    const to = [];
    let shown = 0;
    for (let place = 0; place < count; place++) to.push(chosen(place) ? shown++ : shown);
    for (const item of items) {
      const [from, onto] = [Number(item.dataset.m), to[item.dataset.m]];
      const x = ((onto % columns) - (from % columns)) * across;
      const y = (Math.floor(onto / columns) - Math.floor(from / columns)) * down;
      if (from === onto) item.removeAttribute("transform");
      else item.setAttribute("transform", `translate(${x.toFixed(2)} ${y.toFixed(2)})`);
    }
    const lower = height - (Math.ceil(count / columns) - Math.ceil(shown / columns)) * down;
    svg.setAttribute("viewBox", `0 0 ${width} ${lower}`);
    svg.setAttribute("height", lower);
    svg.style.overflow = shown < count ? "hidden" : "";
  };
  const apply = () => {
    const chosen = (place) => boxes[place].checked;
    const left = boxes.filter((box) => box.checked).length;
    for (const [place, items] of ofMethod.entries()) {
      for (const item of items) item.toggleAttribute("hidden", !chosen(place));
    }
    for (const grid of grids) closeUp(grid, chosen);
    for (const row of matrixRows) {
      for (let place = 1; place < row.cells.length; place++) row.cells[place].hidden = !chosen(place - 1);
    }
    const text = left === boxes.length ? `all ${left}` : `${left} of ${boxes.length}`;
    document.getElementById("chosen").textContent = text;
    const filtered = document.getElementById("filtered");
    filtered.hidden = left === boxes.length;
    filtered.firstElementChild.textContent = `${text} methods: show all`;
    for (const table of document.querySelectorAll("#case-table")) table.dispatchEvent(new Event("chosen"));
    say(`${text} methods are shown.`);
  };
  const choose = (fits) => {
    for (const [place, box] of boxes.entries()) box.checked = fits(place);
    apply();
  };
  chooser.addEventListener("change", apply);
  for (const button of chooser.querySelectorAll("[data-choose]")) {
    const most = button.dataset.choose === "all" ? Infinity : Number(button.dataset.choose);
    button.addEventListener("click", () => choose((place) => place < most));
  }
  document.querySelector("#filtered button").addEventListener("click", () => choose(() => true));
  if (boxes.some((box) => !box.checked)) apply(); // what a browser restores of an earlier visit
}
