"use strict";
// Text from outside is only ever set as textContent or an attribute, never parsed as markup.
const data = JSON.parse(document.getElementById("data").textContent);

function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

function drawn(tag, attributes, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

function told(value) {
  if (value === null) return "–";
  if (typeof value === "boolean") return value ? "yes" : "no";
  if (typeof value === "number") return String(Number.isInteger(value) ? value : Number(value.toPrecision(6)));
  return Array.isArray(value) ? value.map(told).join(", ") : String(value);
}

// Axes of a picture: `x` and `y` are {label, ticks: [[where, text], ...]}, with places from 0 to 1.
const LEFT = 52, TOP = 10, WIDE = 370, HIGH = 150;
const across = (place) => LEFT + place * WIDE;
const up = (place) => TOP + (1 - place) * HIGH;

function picture(about, x, y, ...marks) {
  const svg = drawn("svg", { viewBox: "0 0 440 205", role: "img", "aria-label": about }, drawn("title", {}, about));
  for (const [place, text] of y.ticks) {
    svg.append(
      drawn("line", { class: "grid", x1: LEFT, x2: LEFT + WIDE, y1: up(place), y2: up(place) }),
      drawn("text", { x: LEFT - 5, y: up(place) + 4, "text-anchor": "end" }, text));
  }
  for (const [place, text] of x.ticks) {
    svg.append(
      drawn("line", { class: "axis", x1: across(place), x2: across(place), y1: up(0), y2: up(0) + 4 }),
      drawn("text", { x: across(place), y: up(0) + 16, "text-anchor": "middle" }, text));
  }
  svg.append(...marks,
    drawn("path", { class: "axis", d: `M${LEFT} ${TOP}V${TOP + HIGH}H${LEFT + WIDE}` }),
    drawn("text", { x: LEFT + WIDE / 2, y: 200, "text-anchor": "middle" }, x.label),
    drawn("text", { transform: `translate(12 ${TOP + HIGH / 2}) rotate(-90)`, "text-anchor": "middle" }, y.label));
  return svg;
}

function niceStep(span, count) {
  const power = 10 ** Math.floor(Math.log10(span / count));
  return [1, 2, 5, 10].find((one) => one * power * count >= span) * power;
}

function ticks(low, high, count, step = niceStep(high - low, count)) {
  const found = [];
  for (let k = Math.ceil(low / step - 1e-9); k * step <= high * (1 + 1e-9); k++) {
    found.push([(k * step - low) / (high - low), told(Number((k * step).toPrecision(6)))]);
  }
  return found;
}

function spectrum([width, counts]) {
  const total = counts.reduce((a, b) => a + b, 0), most = Math.max(...counts) / total;
  const top = Math.max(counts.length, 2) * width;
  const height = (share) => Math.sqrt(share / most) * 0.96; // a square root shows a few values beside a mass of them
  const bars = counts.flatMap((count, k) => {
    if (!count) return [];
    const left = across((k + 0.1) * width / top), tall = Math.max(height(count / total) * HIGH, 1.5);
    const bar = drawn("rect", { class: "bar", x: left.toFixed(1), y: (TOP + HIGH - tall).toFixed(1),
      width: (0.8 * width / top * WIDE).toFixed(1), height: tall.toFixed(1) });
    bar.append(drawn("title", {}, `${count} of ${total} near ${told(k * width)}`));
    return [bar];
  });
  const shares = [0.01, 0.05, 0.2, 0.5, 1].filter((share) => share <= most * 1.05);
  const steps = ticks(0, top - width, 5).map(([place, text]) => [(place * (top - width) + width / 2) / top, text]);
  return picture(`Histogram of ${total} singular values up to ${told((counts.length - 1) * width)}`,
    { label: "singular value", ticks: steps },
    { label: "share (root scale)", ticks: [[0, "0"], ...shares.map((share) => [height(share), told(share)])] }, ...bars);
}

function reach({ layers, reachable }) {
  const last = reachable.length, place = (k) => last > 1 ? k / (last - 1) : 0.5;
  const dots = reachable.map((share, k) => {
    const dot = drawn("circle", { class: "bar", cx: across(place(k)).toFixed(1), cy: up(share * 0.96).toFixed(1), r: last > 60 ? 2 : 3.5 });
    dot.append(drawn("title", {}, `after ${k + 1}, ${layers[k]}: ${told(share)}`));
    return dot;
  });
  const points = reachable.map((share, k) => `${across(place(k)).toFixed(1)},${up(share * 0.96).toFixed(1)}`).join(" ");
  const depths = last > 1 ? ticks(1, last, 6, Math.max(1, niceStep(last - 1, 6))) : [[0.5, "1"]];
  return picture(`Fraction reachable after each of ${last} layers, at the end ${told(reachable[last - 1])}`,
    { label: "layers", ticks: depths },
    { label: "fraction reachable", ticks: [0, 0.25, 0.5, 0.75, 1].map((share) => [share * 0.96, told(share)]) },
    drawn("polyline", { class: "curve", points }), ...dots);
}

function details(index) {
  const facts = element("dl"), both = element("div", { class: "both" });
  let reason = "";
  data.rows[index].forEach((value, k) => {
    if (data.fields[k] === "reason") reason = value || "";
    else if (value !== null) facts.append(element("div", {}, element("dt", {}, data.fields[k]), element("dd", {}, told(value))));
  });
  if (data.spectra[index]) both.append(spectrum(data.spectra[index]));
  both.append(facts);
  if (reason) both.append(element("p", {}, `Not known: ${reason}`));
  return both;
}

const body = document.querySelector("#layers tbody");
const rows = body ? [...body.rows] : [];
const opened = new Map(); // row: its details, made when they are first asked for

function toggle(row) {
  const button = row.querySelector("button");
  const open = button.getAttribute("aria-expanded") !== "true";
  button.setAttribute("aria-expanded", String(open));
  if (!opened.has(row)) {
    const inside = element("td", { colspan: String(row.cells.length) }, details(Number(row.dataset.row)));
    opened.set(row, element("tr", { class: "details" }, inside));
    row.after(opened.get(row));
  }
  opened.get(row).hidden = !open;
}

function sort(head) {
  const descending = head.getAttribute("aria-sort") === "ascending";
  for (const other of head.parentNode.cells) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", descending ? "descending" : "ascending");
  const value = (row) => row.cells[head.cellIndex].dataset.value;
  const number = head.dataset.number !== undefined;
  rows.sort((a, b) => {
    const left = value(a), right = value(b);
    if (left === "" || right === "") return (left === "") - (right === ""); // what is not known comes last
    const order = number ? left - right : left.localeCompare(right, "en", { numeric: true });
    return descending ? -order : order;
  });
  body.append(...rows.flatMap((row) => opened.has(row) ? [row, opened.get(row)] : [row]));
}

function filter() {
  const words = document.getElementById("words").value.toLowerCase();
  const flag = document.getElementById("flag").value;
  let shown = 0;
  for (const row of rows) {
    row.hidden = !(row.cells[0].dataset.value.toLowerCase().includes(words) && (!flag || row.dataset.flags.split(" ").includes(flag)));
    shown += !row.hidden;
    const button = row.querySelector("button");
    if (opened.has(row)) opened.get(row).hidden = row.hidden || button.getAttribute("aria-expanded") !== "true";
  }
  document.getElementById("count").textContent = `${shown} of ${rows.length} layers`;
}

if (body) {
  for (const row of rows) row.querySelector("button").addEventListener("click", () => toggle(row));
  for (const head of document.querySelectorAll("#layers th")) {
    head.querySelector("button").addEventListener("click", () => sort(head));
  }
  document.getElementById("words").addEventListener("input", filter);
  document.getElementById("flag").addEventListener("change", filter);
  document.querySelector(".controls").hidden = false;
  filter();
}

for (const figure of document.querySelectorAll("figure[data-chain]")) {
  figure.prepend(reach(data.chains[figure.dataset.chain]));
}

const theme = document.getElementById("theme");
const isDark = () => (document.documentElement.dataset.theme || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
const label = () => { theme.textContent = isDark() ? "Light" : "Dark"; theme.setAttribute("aria-label", `Switch to the ${isDark() ? "light" : "dark"} theme`); };
theme.addEventListener("click", () => { document.documentElement.dataset.theme = isDark() ? "light" : "dark"; label(); });
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", label);
theme.hidden = false;
label();
