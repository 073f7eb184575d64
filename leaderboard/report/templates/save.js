// What is saved from the page: a script writes it when it is asked for.
const save = (name, type, text) => {
  const url = URL.createObjectURL(new Blob([text], { type }));
  Object.assign(document.createElement("a"), { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 60000);
  say(`${name} saved.`);
};
const buttons = (after, actions) => {
  const line = document.createElement("p");
  line.className = "save";
  for (const [text, label, action] of actions) {
    const button = document.createElement("button");
    Object.assign(button, { type: "button", className: "link", textContent: text });
    button.setAttribute("aria-label", `${text}: ${label}`);
    button.addEventListener("click", action);
    line.append(button);
  }
  after.after(line);
};
const counts = {};
const nameOf = (item) => {
  const section = item.closest("section").id;
  const kind = `${section} ${item.tagName}`;
  counts[kind] = (counts[kind] || 0) + 1;
  return `${section}-${counts[kind]}`;
};
