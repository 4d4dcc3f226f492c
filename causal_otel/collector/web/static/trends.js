// The pages of an operation and of a service: a click on a chart compares what was before with what is after.

const hint = document.querySelector(".hint");
if (hint) hint.hidden = false;

for (const chart of document.querySelectorAll(".chart svg")) {
  chart.classList.add("clickable");
  chart.addEventListener("click", (event) => {
    const column = event.target.closest("[data-at]");
    if (!column || column === chart.querySelector("[data-at]")) return; // nothing is before the first
    const address = new URL(location.href);
    address.searchParams.set("moment", column.dataset.at);
    address.searchParams.delete("against");
    address.hash = "changed";
    location.assign(address);
  });
}
