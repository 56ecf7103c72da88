// The live page: takes over what the server rendered and keeps it fresh from the event stream.

import { state, t, rate, mass, number, age, time, brief, fullTime, steps, sources, bar, fields, setText, drawQuality } from "./format.js";
import { Trend } from "./chart.js";
import { keepFresh } from "./refresh.js";
import { Stream } from "./stream.js";

const LATE_S = 5;
const MISSING_S = 60;
const LISTS_MS = 10000;
const byId = (id) => document.getElementById(id);
const query = `site=${encodeURIComponent(state.site)}`;

const live = { plant: null, line: new Map(), batch: new Map(), trend: null };
const ending = new Set();
const seen = new Map(); // when something came in, by performance.now()
let linked = true;
const trend = new Trend(fields(byId("trend"))("chart"), fields(byId("trend"))("legend"));

// --- time: the site's clock and ages go on by themselves, also when nothing comes in any more

const passedS = (key) => (performance.now() - (seen.get(key) ?? performance.now())) / 1000;
const speed = () => (live.plant?.clock?.kind === "run" ? live.plant.clock.speed : live.plant?.clock?.kind === "data" ? 0 : 1);
const siteNowMs = () => Date.parse(live.plant.at) + passedS("plant") * speed() * 1000;

function ageOf(key, body) {
  return body?.data_age_s === null || body?.data_age_s === undefined ? null : body.data_age_s + passedS(key); // both in our time
}

function statusOf(key, body) {
  const silentS = passedS(key);
  if (!body || body.status === "missing" || silentS > MISSING_S) return "missing";
  return body.status === "late" || silentS > LATE_S ? "late" : "live";
}

function showState(host, key, body) {
  const f = fields(host);
  const status = statusOf(key, body);
  f("chip").className = `chip ${status}`;
  setText(f("status"), t(`status.${status}`));
  const seconds = ageOf(key, body);
  setText(f("age"), seconds === null ? t("status.unknown") : t("status.age", { t: age(seconds) }));
  host.classList.toggle("stale", status !== "live");
}

// --- parts of the page

function showPlant() {
  const body = live.plant;
  const f = fields(byId("plant"));
  f("empty")?.remove();
  setText(f("rate"), rate(body.rate_kg_co2e_per_hour));
  setText(f("today"), mass(body.today_kg_co2e));
  showSources(f("sources").tBodies[0], sources(body.by_source));
  drawQuality(f("quality"), body.quality);
  showAlerts(body.alerts ?? []);
  showMeters(body);
}

function showSources(table, list) {
  while (table.rows.length > list.length) table.deleteRow(-1);
  list.forEach((segment, index) => {
    const row = table.rows[index] ?? newSource(table);
    setText(row.cells[0], segment.label);
    bar(row.cells[1], [segment], "thin");
    setText(row.cells[2], segment.text);
  });
}

function newSource(table) {
  const row = table.insertRow();
  row.append(Object.assign(document.createElement("th"), { scope: "row" }));
  row.insertCell().className = "wide";
  row.insertCell().className = "num";
  return row;
}

function showAlerts(alerts) {
  const shown = alerts.filter((alert) => alert.state === "firing" || alert.state === "pending");
  byId("alerts").replaceChildren(...shown.map((alert) => {
    const p = Object.assign(document.createElement("p"), { className: `alert ${alert.state}` });
    const line = state.lines[alert.work_center] ?? alert.work_center;
    p.append(element("b", t(`alert.${alert.state}`, { line })));
    p.append(element("span", t("alert.figures", { rate: rate(alert.rate), limit: rate(alert.limit) })));
    p.append(element("span", t("alert.since", { t: time(alert.since) })));
    return p;
  }));
}

function showMeters(body) {
  const f = fields(byId("meters"));
  const meters = body.meters;
  setText(f("meters"), meters ? t("meters.reporting", { n: meters.total - meters.missing, total: meters.total }) : "—");
  const silent = meters?.missing_ids ?? [];
  f("silent").hidden = silent.length === 0;
  setText(f("silent").querySelector("span"), silent.join(", "));
  f("none").hidden = (body.agents ?? []).length > 0;
  f("agents").replaceChildren(...(body.agents ?? []).map((agent) => {
    const li = Object.assign(document.createElement("li"), { className: agent.online ? "live" : "missing" });
    const waiting = agent.outbox_chunks ? ` · ${t("agents.outbox", { n: agent.outbox_chunks })}` : "";
    li.append(element("i", ""), element("b", agent.agent), ` ${t(agent.online ? "agents.online" : "agents.offline")} `);
    li.append(element("small", t("agents.heard", { t: age(agent.age_s) }) + waiting));
    return li;
  }));
}

function showLine(id) {
  const host = document.querySelector(`[data-line="${CSS.escape(id)}"]`);
  if (!host) return;
  const body = live.line.get(id);
  const f = fields(host.querySelector(".head"));
  const limit = body.budget?.limit;
  setText(f("rate"), rate(body.rate_kg_co2e_per_hour));
  setText(f("limit"), limit ? ` / ${rate(limit)}` : "");
  f("budget").className = `budget ${limit ? body.budget.state : "none"}`;
  f("budget").title = limit ? t(`budget.${body.budget.state}`) : t("lines.no_budget");
  const used = limit && body.rate_kg_co2e_per_hour !== null ? Math.min(100, (body.rate_kg_co2e_per_hour / limit) * 80) : 0;
  f("budget").querySelector("rect").setAttribute("width", used.toFixed(2));
  for (const unit of body.work_units ?? []) showUnit(host, unit);
}

function showUnit(host, unit) {
  const tile = host.querySelector(`[data-unit="${CSS.escape(unit.work_unit)}"]`);
  if (!tile) return;
  const f = fields(tile);
  tile.classList.remove("live", "late", "missing");
  tile.classList.add(unit.status ?? "missing");
  setText(f("rate"), rate(unit.rate_kg_co2e_per_hour));
  setText(f("batches"), (unit.batches ?? []).join(", ") || t("lines.no_batch"));
}

const isInProduction = (body) => body.status === "running" || body.status === "waiting"; // waiting: between two steps

function showBatches() {
  const rows = fields(byId("batches"))("rows");
  const isShown = (id) => isInProduction(live.batch.get(id)) || ending.has(id);
  const running = [...live.batch.keys()].filter(isShown);
  const ids = running.sort((a, b) => {
    const [first, second] = [live.batch.get(a).started_at ?? "", live.batch.get(b).started_at ?? ""];
    return first < second ? -1 : first > second ? 1 : a < b ? -1 : 1;
  });
  for (const row of [...rows.children]) if (!ids.includes(row.dataset.batch)) row.remove();
  ids.forEach((id, index) => {
    let row = rows.querySelector(`[data-batch="${CSS.escape(id)}"]`);
    if (!row) {
      row = byId("batch-row").content.firstElementChild.cloneNode(true);
      row.dataset.batch = id;
    }
    if (rows.children[index] !== row) rows.insertBefore(row, rows.children[index] ?? null);
    showBatch(row, id, live.batch.get(id));
  });
  fields(byId("batches"))("none").hidden = ids.length > 0;
}

function showBatch(row, id, body) {
  const f = fields(row);
  setText(f("link"), id);
  f("link").href = `/batches/${encodeURIComponent(id)}?${query}`;
  setText(f("product"), body.product ?? "");
  setText(f("where"), (body.work_units ?? []).map((unit) => state.units[unit] ?? unit).join(", ") || t("batches.waiting"));
  const quantity = body.quantity ? ` · ${number(body.quantity, 0)} ${body.unit ?? ""}` : "";
  setText(f("since"), `${t("batches.since", { t: brief(body.started_at, body.at) })}${quantity}`);
  bar(f("steps"), steps(body.by_step));
  setText(f("total"), mass(body.partial_footprint_kg_co2e));
  f("incomplete").hidden = !body.incomplete;
}

function element(name, text) {
  return Object.assign(document.createElement(name), { textContent: text });
}

// --- what comes in: noted at once, drawn with the next frame

const dirty = new Set();

function draw() {
  if (live.plant && dirty.has("plant")) showPlant();
  for (const id of live.line.keys()) if (dirty.has(`line ${id}`)) showLine(id);
  if (dirty.has("batches")) showBatches();
  if (live.trend && live.plant && dirty.has("trend")) trend.show(live.trend, siteNowMs() / 1000, speed(), live.plant);
  dirty.clear();
  showStates();
}

function mark(key) {
  if (dirty.size === 0) requestAnimationFrame(draw);
  dirty.add(key);
}

function take(kind, body) {
  if (kind === "plant" && !body.ended) {
    live.plant = body;
    seen.set("plant", performance.now());
    mark("plant");
  } else if (kind === "work_center" && !body.ended) {
    live.line.set(body.id, body);
    seen.set(`line ${body.id}`, performance.now());
    mark(`line ${body.id}`);
  } else if (kind === "batch") {
    // One that is over is shown until the list of those has it.
    const known = live.batch.get(body.id);
    if (known && isInProduction(known) && !body.ended && !isInProduction(body)) {
      ending.add(body.id);
      refreshLists();
    }
    if (body.ended) live.batch.delete(body.id);
    else live.batch.set(body.id, body);
    mark("batches");
  } else if (kind === "trend" && !body.ended) {
    live.trend = body;
    mark("trend");
  }
}

function showStates() {
  if (live.plant) {
    showState(byId("plant"), "plant", live.plant);
    const clock = live.plant.clock;
    const note = clock?.kind === "run" && clock.speed !== 1 ? ` · ${t("time.speed", { n: clock.speed })}` : clock?.kind === "data" ? ` · ${t("time.data")}` : "";
    setText(document.querySelector("[data-f=clock]"), fullTime(siteNowMs()) + note);
  }
  for (const [id, body] of live.line) {
    const host = document.querySelector(`[data-line="${CSS.escape(id)}"] .head`);
    if (host) showState(host, `line ${id}`, body);
  }
}

function showLink(up) {
  if (up && !linked) live.batch.clear(); // the present picture follows at once; what ended meanwhile is not in it
  linked = up;
  const link = document.querySelector("[data-f=stream]");
  link.hidden = false;
  link.classList.toggle("off", !up);
  setText(link.querySelector("span"), t(up ? "stream.on" : "stream.off"));
}

const refreshLists = keepFresh(`/live-lists?${query}&lang=${state.language}`, ["finished", "shipments", "issues"], LISTS_MS, () => {
  ending.clear();
  mark("batches");
});
for (const body of Object.values(state.live.plant)) take("plant", body);
for (const [id, body] of Object.entries(state.live.work_center)) take("work_center", { id, ...body });
for (const [id, body] of Object.entries(state.live.batch)) take("batch", { id, ...body });
for (const body of Object.values(state.live.trend)) take("trend", body);
new Stream(`/v1/stream?${query}`, ["plant", "work_center", "batch", "trend"], take, showLink);
setInterval(() => {
  showStates();
  if (live.plant && live.trend) trend.tick(siteNowMs() / 1000);
}, 1000);
