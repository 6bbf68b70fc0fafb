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

function told(value, grouped = false) {
  if (value === null) return "–";
  if (typeof value === "boolean") return value ? "yes" : "no";
  if (typeof value === "number" && value !== 0 && Math.abs(value) < 1e-4) return Number(value.toPrecision(grouped ? 4 : 6)).toExponential();
  if (typeof value === "number" && Number.isInteger(value)) return grouped && Math.abs(value) < 1e15 ? value.toLocaleString("en") : String(value);
  if (typeof value === "number") return String(Number(value.toPrecision(6)));
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
  let reason = "", pvalue = null;
  data.rows[index].forEach((value, k) => {
    const key = data.fields[k];
    if (key === "reason") reason = value || "";
    else if (value !== null && value.length !== 0) facts.append(element("div", {}, element("dt", {}, key), element("dd", {}, told(value))));
    if (key === "ks.pvalue") pvalue = value;
  });
  if (data.spectra[index]) both.append(spectrum(data.spectra[index]));
  both.append(facts);
  if (pvalue !== null && pvalue < 0.05) both.append(element("p", {}, data.ks));
  if (reason) both.append(element("p", {}, `Not known: ${reason}`));
  return both;
}

function brief(value) {
  if (Array.isArray(value)) return value.map(brief).join(" × ") || "–";
  return typeof value === "number" ? told(Number.isInteger(value) ? value : Number(value.toPrecision(4)), true) : told(value);
}

function middle(text, width) {
  const tail = width >> 1;
  return text.length <= width ? text : `${text.slice(0, width - 1 - tail)}…${text.slice(text.length - tail)}`;
}

function common(names) { // how many characters all names begin with, up to a dot, and end with, from one on
  const [first = ""] = names, same = (k, at) => names.every((name) => at(name, k) === at(first, k));
  const count = (at) => { let k = 0; while (k < first.length && same(k, at)) k++; return k; };
  const begin = first.lastIndexOf(".", count((name, k) => name[k]) - 1) + 1;
  const end = first.indexOf(".", first.length - count((name, k) => name[name.length - 1 - k]));
  return names.length > 1 ? [begin, end < begin ? 0 : first.length - end] : [0, 0];
}

function apart(name, [begin, end]) { // what tells it from the others
  return `${begin ? "…" : ""}${name.slice(begin, name.length - end)}${end ? "…" : ""}`;
}

// A table of any number of rows, of which those near the window are in the page, and rows of nothing stand for the others.
// `source` has the rows' count, their names, cells(k), value(k, column) to sort by, and inside(k), what a name opens, if any.
const FEW = 300, WORDS = new Intl.Collator("en", { numeric: true });

class Rows {
  constructor(table, source) {
    Object.assign(this, { table, source, body: table.tBodies[0], made: new Map(), opened: new Map(), height: 0 });
    this.all = Array.from({ length: source.count }, (_, k) => k);
    this.shown = this.all;
    this.whole = this.all.length <= FEW; // all of them are in the page, and names may take several lines
    const wide = String(table.tHead.rows[0].cells.length);
    this.ends = [0, 1].map(() => element("tr", { class: "space", "aria-hidden": "true" }, element("td", { colspan: wide })));
    this.wide = wide;
    this.common = this.whole ? [0, 0] : common(source.names);
    table.classList.toggle("even", !this.whole);
    table.setAttribute("aria-rowcount", String(source.count + 1));
    this.body.replaceChildren(...this.ends);
    for (const head of table.tHead.rows[0].cells) {
      head.querySelector("button").addEventListener("click", () => this.sort(head));
    }
    if (!this.whole) {
      let asked = false;
      const soon = () => { if (!asked) requestAnimationFrame(() => { asked = false; this.draw(); }); asked = true; };
      addEventListener("scroll", soon, { passive: true });
      addEventListener("resize", () => { this.height = 0; this.made.clear(); this.clear(); soon(); });
    }
    addEventListener("beforeprint", () => this.place(0, this.shown.length));
    this.draw();
  }

  clear() {
    while (this.ends[0].nextSibling !== this.ends[1]) this.ends[0].nextSibling.remove();
  }

  above(place) { // how high all rows are before this place
    let high = place * this.height;
    for (const [k, tall] of this.opened) if (this.places.get(k) < place) high += tall;
    return high;
  }

  at(high) { // the last place that begins no lower
    let low = 0, top = this.shown.length;
    while (low < top) {
      const half = (low + top + 1) >> 1;
      if (this.above(half) <= high) low = half; else top = half - 1;
    }
    return low;
  }

  draw() {
    this.places = new Map(this.opened.size ? this.shown.map((k, place) => [k, place]) : []);
    if (this.whole) return this.place(0, this.shown.length);
    if (!this.height) {
      this.place(0, Math.min(5, this.shown.length));
      this.height = this.ends[0].nextSibling.getBoundingClientRect?.().height || 30;
    }
    const top = -this.body.getBoundingClientRect().top, view = innerHeight;
    this.place(this.at(Math.max(0, top - view)), Math.min(this.shown.length, this.at(Math.max(0, top + 2 * view)) + 1));
  }

  place(from, to) {
    const wanted = this.shown.slice(from, to).flatMap((k) => this.row(k)), kept = new Set(wanted);
    let next = this.ends[0].nextSibling;
    const step = (node) => { while (node !== this.ends[1] && !kept.has(node)) { const gone = node; node = node.nextSibling; gone.remove(); } return node; };
    next = step(next);
    for (const row of wanted) { // what is in its place is not moved, and keeps the focus
      if (row === next) next = step(next.nextSibling);
      else this.body.insertBefore(row, next);
    }
    const high = this.whole ? [0, 0] : [this.above(from), this.above(this.shown.length) - this.above(to)];
    this.ends.forEach((end, k) => { end.cells[0].style.height = `${high[k]}px`; end.hidden = !high[k]; });
  }

  row(k) {
    if (!this.made.has(k)) {
      const cells = this.source.cells(k), name = this.source.names[k];
      const text = this.whole ? name : innerWidth < 720 ? middle(apart(name, this.common), 20) : middle(name, 44);
      const first = this.source.inside ? element("button", { type: "button", "aria-expanded": String(this.opened.has(k)) }, text) : text;
      if (this.source.inside) first.addEventListener("click", () => this.toggle(k));
      const row = element("tr", { "aria-rowindex": String(k + 2) }, element("td", text === name ? {} : { title: name }, first), ...cells);
      if (this.source.marked && this.source.marked(k)) row.className = "failed";
      this.made.set(k, [row]);
      if (this.opened.has(k)) this.made.get(k).push(this.inside(k));
    }
    return this.made.get(k);
  }

  inside(k) {
    return element("tr", { class: "details" }, element("td", { colspan: this.wide }, this.source.inside(k)));
  }

  toggle(k, open = !this.opened.has(k)) {
    const rows = this.row(k);
    rows[0].querySelector("button").setAttribute("aria-expanded", String(open));
    if (open === this.opened.has(k)) return;
    if (open) {
      rows.push(this.inside(k));
      this.opened.set(k, 0);
      this.draw();
      this.opened.set(k, rows[1].offsetHeight);
    } else {
      rows.pop();
      this.opened.delete(k);
    }
    this.draw();
  }

  show(k) { // open a row, and bring it into view
    this.toggle(k, true);
    const top = this.body.getBoundingClientRect().top + scrollY;
    if (!this.whole) scrollTo(0, top + this.above(this.shown.indexOf(k)) - innerHeight / 3);
    this.draw();
    this.row(k)[0].scrollIntoView({ block: "center" });
  }

  sort(head) {
    const descending = head.getAttribute("aria-sort") === "ascending";
    for (const other of head.parentNode.cells) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", descending ? "descending" : "ascending");
    const number = head.dataset.number !== undefined, sign = descending ? -1 : 1;
    const values = Array.from({ length: this.source.count }, (_, k) => this.source.value(k, head.dataset.key));
    const order = (a, b) => {
      const left = values[a], right = values[b];
      if (left === null || right === null) return (left === null) - (right === null); // what is not known comes last
      return sign * (number ? left - right : WORDS.compare(left, right));
    };
    const kept = new Set(this.shown);
    this.all = [...this.all].sort((a, b) => order(a, b) || a - b);
    this.shown = this.all.filter((k) => kept.has(k));
    this.draw();
  }

  filter(holds) {
    this.shown = this.all.filter(holds);
    this.draw();
  }
}

const column = new Map(data.fields.map((key, k) => [key, k]));
const fact = (k, key) => column.has(key) ? data.rows[k][column.get(key)] : null;
const size = (value) => Array.isArray(value) ? value.reduce((a, b) => a * b, 1) : value;
const td = (text, attributes = {}) => element("td", attributes, text);

function table(id, source) {
  const found = document.querySelector(`#${id} table`);
  if (!found) return null;
  const keys = [...found.tHead.rows[0].cells].slice(1).map((head) => [head.dataset.key, head.classList.contains("spare")]);
  return new Rows(found, { ...source, cells: (k) => keys.map(([key, spare]) => source.cell(k, key, spare ? { class: "spare" } : {})) });
}

const layers = table("layers", {
  count: data.names.length, names: data.names, inside: details,
  marked: (k) => data.failed[k].length > 0,
  value: (k, key) => key === "name" ? data.names[k] : key === "failed" ? data.failed[k].length : size(fact(k, key)),
  cell: (k, key, attributes) => key === "failed" ? td(data.failed[k].join("; "), { class: "checks" }) : td(brief(fact(k, key)), attributes),
});

const change = (pair) => pair && brief(pair[0]) !== brief(pair[1]) ? `${brief(pair[0])} → ${brief(pair[1])}` : "";
table("changes", {
  count: data.changes.rows.length, names: data.changes.rows.map(([name]) => name),
  value: (k, key) => {
    const [name, status, pairs] = data.changes.rows[k];
    if (key === "name" || key === "status") return key === "name" ? name : status;
    const pair = pairs[data.changes.facts.indexOf(key)];
    return pair && pair.every((one) => typeof one === "number") ? pair[1] - pair[0] : null;
  },
  cell: (k, key) => td(key === "status" ? data.changes.rows[k][1] : change(data.changes.rows[k][2][data.changes.facts.indexOf(key)])),
});

if (layers) {
  const words = document.getElementById("words"), flag = document.getElementById("flag");
  const names = data.names.map((name) => name.toLowerCase()), flags = data.flags.map((ones) => ones.split(" "));
  const filter = () => {
    const part = words.value.toLowerCase();
    layers.filter((k) => names[k].includes(part) && (!flag.value || flags[k].includes(flag.value)));
    document.getElementById("count").textContent = `${layers.shown.length.toLocaleString("en")} of ${names.length.toLocaleString("en")} layers`;
  };
  words.addEventListener("input", filter);
  flag.addEventListener("change", filter);
  document.querySelector(".controls").hidden = false;
  filter();
}

// The main picture: of each layer, or of so many side by side as have no room of their own, the least, the median and the
// largest singular value; on one scale in all figures.
const NAMED = 12;

function reaches(parts, count) { // [first, how many, low, median, high, exact], of `count` places at most
  const each = Math.ceil(parts.length / count), found = [];
  for (let k = 0; k < parts.length; k += each) {
    const ones = parts.slice(k, k + each).filter(Boolean);
    if (!ones.length) continue;
    const medians = ones.map((one) => one[1]).sort((a, b) => a - b);
    found.push([k, each, Math.min(...ones.map((one) => one[0])), medians[medians.length >> 1], Math.max(...ones.map((one) => one[2])), ones.every((one) => one[3])]);
  }
  return found;
}

function valueScale(parts) { // {place, ticks, label} of all values of the figures
  const values = parts.flatMap((one) => one ? one.slice(0, 3) : []), top = Math.max(1, ...extremes(values));
  const positive = values.filter((value) => value > top * 1e-8), least = Math.min(1, extremes(positive)[0]);
  if (top / least <= 20) return { label: "singular value", place: (value) => value / (1.05 * top), ticks: ticks(0, 1.05 * top, 5) };
  const low = Math.floor(Math.log10(least)), high = Math.max(Math.ceil(Math.log10(top)), low + 1);
  const place = (value) => value > top * 1e-8 ? 0.1 + 0.88 * (Math.log10(value) - low) / (high - low) : 0.02;
  const step = Math.ceil((high - low) / 6), marks = [];
  for (let power = low; power <= high; power += step) marks.push([place(10 ** power), told(10 ** power, true)]);
  return { label: "singular value (log scale)", place, ticks: values.length > positive.length ? [[0.02, "0"], ...marks] : marks };
}

function extremes(values) { // a spread of 30,000 arguments is too many
  return values.length ? [values.reduce((a, b) => Math.min(a, b)), values.reduce((a, b) => Math.max(a, b))] : [1, 1];
}

function sigma(parts, width, scale, about) {
  const few = parts.length <= NAMED, left = 60, right = 24, top = 12, low = few ? 84 : 34, high = 210;
  const wide = width - left - right, deep = top + high, up = (value) => (deep - scale.place(value) * high).toFixed(1);
  const slot = wide / parts.length, svg = drawn("svg", { class: "sigma", viewBox: `0 0 ${width} ${deep + low}`, width, height: deep + low, role: "img", "aria-label": about }, drawn("title", {}, about));
  for (const [place, text] of scale.ticks) {
    const y = deep - place * high;
    svg.append(drawn("line", { class: "grid", x1: left, x2: left + wide, y1: y, y2: y }), drawn("text", { x: left - 6, y: y + 4, "text-anchor": "end" }, text));
  }
  svg.append(drawn("line", { class: "one", x1: left, x2: left + wide, y1: up(1), y2: up(1) }));
  for (const [first, many, least, median, most, exact] of reaches(parts, Math.floor(wide / 3))) {
    const x = left + slot * (first + Math.min(many, parts.length - first) / 2), half = Math.max(Math.min(slot * many * 0.35, 7), 1);
    const group = drawn("g", { class: `reach${exact ? "" : " estimated"}${half > 1 ? "" : " many"}` });
    const who = many > 1 ? `layers ${first + 1} to ${Math.min(first + many, parts.length)}` : data.names[first];
    group.append(drawn("title", {}, `${who}: σ from ${told(least)} to ${told(most)}, median ${told(median)}${exact ? "" : " (estimated)"}`),
      drawn("rect", { class: "touch", x: (x - Math.max(half, 3)).toFixed(1), width: (2 * Math.max(half, 3)).toFixed(1), y: top, height: high }),
      drawn("path", { class: "span", d: `M${x.toFixed(1)} ${up(least)}V${up(most)}` }),
      half > 1 ? drawn("path", { class: "end", d: `M${(x - half).toFixed(1)} ${up(least)}h${(2 * half).toFixed(1)}M${(x - half).toFixed(1)} ${up(most)}h${(2 * half).toFixed(1)}` }) : "",
      drawn("circle", { class: "bar", cx: x.toFixed(1), cy: up(median), r: half > 2 ? 3 : 1.3 }));
    if (layers) group.addEventListener("click", () => layers.show(first));
    svg.append(group);
  }
  svg.append(drawn("path", { class: "axis", d: `M${left} ${top}V${deep}H${left + wide}` }));
  if (few) parts.forEach((_, k) => {
    const x = left + slot * (k + 0.5);
    svg.append(drawn("text", { transform: `translate(${x.toFixed(1)} ${deep + 14}) rotate(-35)`, "text-anchor": "end" }, middle(data.names[k], 18)));
  });
  else {
    for (const [place, text] of ticks(1, parts.length, Math.max(2, Math.floor(wide / 80)), Math.max(1, niceStep(parts.length - 1, Math.max(2, Math.floor(wide / 80)))))) {
      const x = left + slot * (place * (parts.length - 1) + 0.5);
      svg.append(drawn("text", { x: x.toFixed(1), y: deep + 15, "text-anchor": "middle" }, Number(text).toLocaleString("en")));
    }
    svg.append(drawn("text", { x: left + wide / 2, y: deep + 31, "text-anchor": "middle" }, "layer, in the table's first order"));
  }
  svg.append(drawn("text", { transform: `translate(14 ${top + high / 2}) rotate(-90)`, "text-anchor": "middle" }, scale.label));
  return svg;
}

const sigmas = [...document.querySelectorAll("figure[data-sigma]")];
if (sigmas.length) {
  const scale = valueScale(sigmas.flatMap((figure) => data.sigma[figure.dataset.sigma]));
  const redraw = () => {
    for (const figure of sigmas) {
      figure.querySelector("svg")?.remove();
      const parts = data.sigma[figure.dataset.sigma], width = Math.max(Math.floor(figure.clientWidth), 260);
      figure.append(sigma(parts, width, scale, `Singular values of ${parts.filter(Boolean).length} layers, ${figure.dataset.sigma}`));
    }
  };
  let last = 0;
  addEventListener("resize", () => { if (sigmas[0].clientWidth !== last) redraw(); last = sigmas[0].clientWidth; });
  redraw();
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
