"use strict";
const content = JSON.parse(document.getElementById("data").textContent);
const dark = matchMedia("(prefers-color-scheme: dark)");
const narrow = matchMedia("(max-width: 40rem)");
const redraws = [];
for (const query of [dark, narrow]) query.addEventListener("change", () => redraws.forEach((draw) => draw()));

const SYMBOLS = ["circle", "square", "diamond", "triangle-up", "x", "triangle-down", "pentagon", "star"];
const LEGEND = { orientation: "h", x: 0, y: 1.01, yanchor: "bottom", itemsizing: "constant" };
const CONFIG = { displayModeBar: false, responsive: true, scrollZoom: false };

function colours() {
  return content.palette[dark.matches ? "dark" : "light"];
}

function variable(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

function axis(extra) {
  return { color: variable("--soft"), gridcolor: variable("--line"), zeroline: false, automargin: true, ...extra };
}

function layout(extra) {
  const family = getComputedStyle(document.body).fontFamily;
  const touch = matchMedia("(pointer: coarse)").matches;
  return {
    paper_bgcolor: variable("--bg"),
    plot_bgcolor: variable("--bg"),
    font: { color: variable("--ink"), family, size: 13 },
    hoverlabel: { bgcolor: variable("--panel"), bordercolor: variable("--soft"), font: { color: variable("--ink"), family }, align: "left" },
    legend: LEGEND,
    dragmode: touch ? false : "zoom",
    margin: { l: 45, r: 12, t: 12, b: 45 },
    ...extra,
  };
}

/* Plotly reads a subset of HTML in its texts. */
function plain(text) {
  return String(text).replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}

function bytes(text) {
  return Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)).buffer;
}

function option(select, value, text) {
  const element = document.createElement("option");
  element.value = value;
  element.textContent = text;
  select.append(element);
}
