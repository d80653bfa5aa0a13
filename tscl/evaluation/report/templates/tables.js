function sortable(table) {
  const heads = [...table.tHead.rows[0].cells];
  const key = (row, column) => row.cells[column].dataset.value ?? row.cells[column].textContent.trim();
  const order = new Intl.Collator("en", { numeric: true });
  heads.forEach((head, column) => head.querySelector("button").addEventListener("click", () => {
    const direction = head.getAttribute("aria-sort") === "ascending" ? "descending" : "ascending";
    heads.forEach((other) => other.setAttribute("aria-sort", other === head ? direction : "none"));
    const compare = (a, b) => {
      const [first, second] = [key(a, column), key(b, column)];
      const both = [Number(first), Number(second)];
      return both.some(Number.isNaN) ? order.compare(first, second) : both[0] - both[1];
    };
    const rows = [...table.tBodies[0].rows].sort((a, b) => (direction === "ascending" ? compare(a, b) : compare(b, a)));
    table.tBodies[0].append(...rows);
  }));
}

document.querySelectorAll("table.sortable").forEach(sortable);
const which = document.getElementById("which");
which?.addEventListener("change", () => {
  document.querySelectorAll(".predicted").forEach((part) => { part.hidden = part.dataset.table !== which.value; });
});
if (content.points) embeddingMap(content.points);
if (content.curves.length) trainingCurves(content.curves);
