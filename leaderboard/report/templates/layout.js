// A hint above each table that does not fit its place.
const hint = () => {
  for (const region of document.querySelectorAll(".scroll")) {
    region.previousElementSibling.hidden = region.scrollWidth <= region.clientWidth + 1;
  }
};
addEventListener("resize", hint);
hint();

// Print shows what lies folded away.
let folded = [];
addEventListener("beforeprint", () => {
  folded = [...document.querySelectorAll("details:not([open])")];
  for (const part of folded) part.open = true;
});
addEventListener("afterprint", () => { for (const part of folded) part.open = false; });
