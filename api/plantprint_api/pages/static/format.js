// Numbers, ages, times and bars as the server writes them (view.py is the twin of this file).

export const state = JSON.parse(document.getElementById("state").textContent);

const strings = state.strings;
const SVG = "http://www.w3.org/2000/svg";
const stepOrder = new Map(state.steps.map((step, index) => [step.id, index]));
const clockParts = new Intl.DateTimeFormat("en-GB", {
  timeZone: state.timezone, year: "numeric", month: "2-digit", day: "2-digit",
  hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23", timeZoneName: "shortOffset",
});

export const UNKNOWN = "—";

export function t(key, values = {}) {
  return strings[key].replace(/\{(\w+)\}/g, (_, name) => values[name] ?? "");
}

export function number(value, digits) {
  if (value === null || value === undefined || value === "" || !Number.isFinite(Number(value))) return UNKNOWN;
  // "negative": what rounds to zero has no sign.
  const digitsOf = { minimumFractionDigits: digits, maximumFractionDigits: digits, signDisplay: "negative" };
  return Number(value).toLocaleString("en-US", digitsOf);
}

export const rate = (value) => number(value, Math.abs(Number(value)) < 1000 ? 1 : 0);
const SMALLEST = 0.01; // what is less than this is not nothing
export const mass = (value) =>
  Number(value) > 0 && Number(value) < SMALLEST ? `<${SMALLEST}` : number(value, Math.abs(Number(value)) < 10000 ? 2 : 1);
export const percent = (share) =>
  share === null || share === undefined ? UNKNOWN : `${number(share * 100, share === 0 || share === 1 ? 0 : 1)} %`;

export function age(seconds) {
  if (seconds === null || seconds === undefined) return UNKNOWN;
  if (seconds < 10) return t("time.s", { n: seconds.toFixed(1) });
  if (seconds < 120) return t("time.s", { n: Math.floor(seconds) });
  if (seconds < 7200) return t("time.min", { n: Math.floor(seconds / 60) });
  if (seconds < 172800) return t("time.h", { n: Math.floor(seconds / 3600) });
  return t("time.d", { n: Math.floor(seconds / 86400) });
}

function parts(instant) {
  return Object.fromEntries(clockParts.formatToParts(new Date(instant)).map((part) => [part.type, part.value]));
}

export function time(instant) {
  if (!instant) return UNKNOWN;
  const p = parts(instant);
  return `${p.month}-${p.day} ${p.hour}:${p.minute}`;
}

// The time of day alone when it is within 20 hours of `at`.
export function brief(instant, at) {
  const text = time(instant);
  return instant && at && Math.abs(Date.parse(at) - Date.parse(instant)) < 72e6 ? text.slice(-5) : text;
}

export function fullTime(instant) {
  if (!instant) return UNKNOWN;
  const p = parts(instant);
  return `${p.year}-${p.month}-${p.day} ${p.hour}:${p.minute}:${p.second} ${p.timeZoneName.replace("GMT", "UTC")}`;
}

const unnamed = { "": t("step.none"), shared: t("step.shared") };

export const stepName = (step) => state.steps.find((s) => s.id === step)?.name ?? unnamed[step] ?? step;
export const stepCss = (step) => state.steps.find((s) => s.id === step)?.css ?? "cx";

// In the order of the plant model, what it does not know last.
export function inOrder(names) {
  const order = (step) => stepOrder.get(step) ?? stepOrder.size;
  return [...names].sort((a, b) => order(a) - order(b) || (a < b ? -1 : 1));
}

export function steps(byStep, write = mass) {
  return segments(inOrder(Object.keys(byStep ?? {})).map((step) => [step, stepName(step), stepCss(step), byStep[step]]), write);
}

export function sources(bySource) {
  const list = Object.entries(bySource ?? {}).sort((a, b) => b[1] - a[1]);
  const largest = Math.max(0, ...list.map(([, value]) => Number(value))) || 1;
  return list.map(([source, value]) => ({
    id: source, label: state.sources[source] ?? source, css: "src", start: 0,
    width: Math.max(0, (value / largest) * 100), text: rate(value),
  }));
}

export function quality(shares) {
  const names = ["measured", "recovered", "estimated", "missing"];
  return segments(names.map((q) => [q, t(`quality.${q}`), `q-${q}`, shares?.[q] ?? (Object.keys(shares ?? {}).length ? 0 : null)]), percent);
}

function segments(items, write) {
  const size = (value) => Math.max(0, Number(value) || 0);
  const whole = items.reduce((sum, item) => sum + size(item[3]), 0) || 1;
  let start = 0;
  return items.map(([id, label, css, value]) => {
    const width = (size(value) / whole) * 100;
    const segment = { id, label, css, start, width, text: write(value) };
    start += width;
    return segment;
  });
}

// Redraws the rectangles of a bar; makes the bar when there is none yet.
export function bar(host, list, css = "") {
  let svg = host.querySelector("svg.bar");
  if (!svg) {
    svg = document.createElementNS(SVG, "svg");
    svg.setAttribute("class", `bar ${css}`);
    svg.setAttribute("viewBox", "0 0 100 10");
    svg.setAttribute("preserveAspectRatio", "none");
    svg.setAttribute("role", "img");
    host.append(svg);
  }
  const shown = list.filter((segment) => segment.width > 0);
  svg.setAttribute("aria-label", shown.map((s) => `${s.label} ${s.text}`).join(", "));
  while (svg.childElementCount > shown.length) svg.lastElementChild.remove();
  while (svg.childElementCount < shown.length) {
    const rect = svg.appendChild(document.createElementNS(SVG, "rect"));
    rect.setAttribute("height", "10");
    rect.append(document.createElementNS(SVG, "title"));
  }
  shown.forEach((segment, index) => {
    const rect = svg.children[index];
    rect.setAttribute("class", segment.css);
    rect.setAttribute("x", segment.start.toFixed(3));
    rect.setAttribute("width", segment.width.toFixed(3));
    rect.firstElementChild.textContent = `${segment.label}: ${segment.text}`;
  });
}

export function fields(host) {
  return (name) => host.querySelector(`[data-f="${name}"]`);
}

export function setText(node, text) {
  if (node && node.textContent !== text) node.textContent = text;
}

export function drawQuality(host, shares) {
  const list = quality(shares);
  bar(host, list);
  list.forEach((segment, index) => setText(host.querySelectorAll(".legend b")[index], segment.text));
}
