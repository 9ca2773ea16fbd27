// What every page has: a switch between light and dark, and tables that sort and filter.

document.querySelector("#theme")?.addEventListener("click", () => {
  const root = document.documentElement;
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
  document.dispatchEvent(new Event("theme"));
});

// A cell's `data-value` is what it sorts by, else its text; what is unknown comes last in both directions.
function sortBy(table, column, descending) {
  const value = (row) => {
    const text = row.cells[column].dataset.value ?? row.cells[column].textContent.trim();
    return text === "" || isNaN(text) ? text : Number(text);
  };
  const body = table.tBodies[0];
  const rows = [...body.rows].map((row, position) => ({ row, position, value: value(row) }));
  rows.sort((a, b) => {
    if ((a.value === "") !== (b.value === "")) return a.value === "" ? 1 : -1;
    const order = typeof a.value === "number" && typeof b.value === "number"
      ? a.value - b.value : String(a.value).localeCompare(String(b.value), "en", { numeric: true });
    return (descending ? -order : order) || a.position - b.position;
  });
  body.append(...rows.map((each) => each.row));
}

for (const table of document.querySelectorAll("table.sorts")) {
  for (const head of table.tHead.rows[0].cells) {
    const button = head.querySelector("button");
    button?.addEventListener("click", () => {
      // Numbers first show their largest, names their first.
      const first = head.classList.contains("text") ? "ascending" : "descending";
      const other = first === "ascending" ? "descending" : "ascending";
      const order = head.getAttribute("aria-sort") === first ? other : first;
      for (const each of table.tHead.rows[0].cells) each.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", order);
      sortBy(table, head.cellIndex, order === "descending");
    });
  }
}

for (const input of document.querySelectorAll("input[data-filters]")) {
  const tables = document.querySelectorAll(input.dataset.filters);
  const found = document.getElementById(input.getAttribute("aria-describedby"));
  input.addEventListener("input", () => {
    const words = input.value.toLowerCase().split(/\s+/);
    let shown = 0, all = 0;
    for (const table of tables) {
      shown = all = 0;
      for (const row of table.tBodies[0].rows) {
        const text = (row.dataset.words ?? row.textContent).toLowerCase();
        row.hidden = !words.every((word) => text.includes(word));
        shown += !row.hidden;
        all += 1;
      }
    }
    found.textContent = input.value ? `${shown} of ${all}` : "";
  });
}
