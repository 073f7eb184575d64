// Figures as SVG: as they are shown, in the light theme's colours.
const lightColours = () => {
  const theme = root.dataset.theme;
  root.dataset.theme = "light";
  const style = getComputedStyle(root);
  const found = (name) => style.getPropertyValue(name).trim();
  const names = ["--paper", "--soft", "--shade", "--line", "--ink", "--muted"];
  for (let number = 0; found(`--m${number}`); number++) names.push(`--m${number}`);
  const colours = Object.fromEntries(names.map((name) => [name, found(name)]));
  if (theme) root.dataset.theme = theme; else delete root.dataset.theme;
  return colours;
};
const svgText = (svg) => {
  const colours = lightColours();
  svg.setAttribute("font-family", "DejaVu Sans, Arial, sans-serif");
  for (const name of ["class", "data-grid", "style"]) svg.removeAttribute(name);
  for (const item of svg.querySelectorAll("[hidden]")) item.remove();
  for (const item of svg.querySelectorAll("[data-m]")) item.removeAttribute("data-m");
  return new XMLSerializer().serializeToString(svg).replace(/var\((--\w+)\)/g, (_, name) => colours[name]);
};
for (const svg of document.querySelectorAll("figure > .wide > svg")) {
  const figure = svg.closest("figure");
  const name = `${nameOf(figure)}.svg`;
  const act = () => save(name, "image/svg+xml", svgText(svg.cloneNode(true)));
  buttons(figure, [["Save SVG", svg.getAttribute("aria-label").split(/[:.,]/)[0], act]]);
}

// A view of the gallery: its tiles on one sheet, with what the style sheet gives to the outlines.
const sheet = (view) => {
  const [tile, text, gap, columns] = [200, 40, 10, 5];
  const make = (name, attributes) => {
    const item = document.createElementNS(view.querySelector("svg").namespaceURI, name);
    for (const [key, value] of Object.entries(attributes)) item.setAttribute(key, value);
    return item;
  };
  const figures = [...view.querySelectorAll("figure")].filter((figure) => !figure.hidden);
  const { width, height } = figures[0].querySelector("svg").viewBox.baseVal;
  const high = tile * height / width;
  const rows = Math.ceil(figures.length / columns);
  const [totalWidth, totalHeight] = [columns * (tile + gap), rows * (high + text + gap)];
  const svg = make("svg", { viewBox: `0 0 ${totalWidth} ${totalHeight}`, width: totalWidth, height: totalHeight });
  for (const [place, figure] of figures.entries()) {
    const [x, y] = [(place % columns) * (tile + gap), Math.floor(place / columns) * (high + text + gap)];
    const image = figure.querySelector("svg").cloneNode(true);
    for (const [key, value] of Object.entries({ x, y, width: tile, height: high })) image.setAttribute(key, value);
    const drawn = [...figure.querySelectorAll("path")];
    for (const [number, path] of [...image.querySelectorAll("path")].entries()) {
      const style = getComputedStyle(drawn[number]);
      for (const key of ["fill", "fill-opacity", "fill-rule", "stroke", "stroke-width", "vector-effect"]) {
        path.setAttribute(key, style.getPropertyValue(key));
      }
    }
    svg.append(image);
    const lines = figure.querySelector("figcaption").innerHTML.split("<br>").map((line) =>
      Object.assign(document.createElement("span"), { innerHTML: line }).textContent.trim());
    for (const [number, line] of lines.entries()) {
      const words = make("text", { x, y: y + high + 14 + 14 * number, "font-size": 11, fill: "var(--ink)" });
      words.textContent = line;
      svg.append(words);
    }
  }
  return svg;
};
for (const view of document.querySelectorAll("#pictures .view")) {
  const name = `${nameOf(view)}.svg`;
  const act = () => save(name, "image/svg+xml", svgText(sheet(view)));
  buttons(view.lastElementChild, [["Save SVG", view.dataset.title, act]]);
}
