// Of several views, one at a time: a radio button each, so that arrow keys choose. Without a script all are there.
for (const [number, views] of document.querySelectorAll(".views").entries()) {
  const parts = [...views.querySelectorAll(":scope > .view")];
  if (parts.length < 2) continue;
  const choice = document.createElement("fieldset");
  choice.className = "choice";
  choice.append(Object.assign(document.createElement("legend"), { textContent: views.dataset.name }));
  const choose = (chosen) => { for (const part of parts) part.hidden = part !== chosen; };
  for (const part of parts) {
    const input = Object.assign(document.createElement("input"), {
      type: "radio", name: `view-${number}`, checked: part === parts[0],
    });
    input.addEventListener("change", () => { choose(part); say(`${part.dataset.title} is shown.`); });
    const label = document.createElement("label");
    label.append(input, part.dataset.title);
    choice.append(label);
  }
  views.prepend(choice);
  choose(parts[0]);
}
