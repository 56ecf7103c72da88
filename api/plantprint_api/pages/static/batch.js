// The page of a batch: while it runs its figures grow, and what the stream does not tell (the product with its materials,
// factors, statements) is fetched again; when it ends the page is loaded anew, settled.

import { state, t, mass, number, steps, percent, bar, fields, setText, drawQuality } from "./format.js";
import { keepFresh } from "./refresh.js";
import { Stream } from "./stream.js";

const RELOAD_MS = 1500;
const FRESH_MS = 10000;
const FRESH = ["standing", "by-scope", "by-source", "product", "factors", "remarks", "statements"];

function take(kind, body) {
  if (kind !== "batch" || body.id !== state.batch) return;
  if (body.ended) {
    setTimeout(() => location.reload(), RELOAD_MS);
    return;
  }
  const total = fields(document.getElementById("total"));
  setText(total("total"), mass(body.partial_footprint_kg_co2e));
  total("total").title = body.partial_footprint_kg_co2e ?? "";
  total("status").className = `chip ${body.status}`;
  setText(total("status").querySelector("b"), t(`batch.${body.status}`));
  if (total("per_unit") && Number(body.quantity)) {
    setText(total("per_unit"), number(body.partial_footprint_kg_co2e / body.quantity, 3));
  }
  drawQuality(total("quality"), body.quality);
  showSteps(fields(document.getElementById("by-step"))("steps"), steps(body.by_step));
  showScopes(document.getElementById("by-scope"), Object.entries(body.by_scope ?? {}));
  for (const [source, part] of Object.entries(body.by_source ?? {})) {
    const row = document.querySelector(`[data-source="${CSS.escape(source)}"]`);
    if (!row) continue;
    setText(fields(row)("amount"), mass(part.amount));
    setText(fields(row)("kg"), part.kg_co2e === null ? t("batch.no_factor") : mass(part.kg_co2e));
  }
}

function showSteps(host, list) {
  bar(host, list, "tall");
  const table = host.querySelector("tbody");
  while (table.rows.length > list.length) table.deleteRow(-1);
  list.forEach((segment, index) => {
    const row = table.rows[index] ?? newStep(table);
    row.cells[0].firstElementChild.className = `dot ${segment.css}`;
    setText(row.cells[0].lastChild, segment.label);
    setText(row.cells[1], segment.text);
    setText(row.cells[2], percent(segment.width / 100));
  });
}

function showScopes(host, list) {
  host.hidden = list.length === 0;
  const table = host.querySelector("tbody");
  for (const row of [...table.rows]) if (!list.some(([scope]) => scope === row.dataset.scope)) row.remove();
  list.forEach(([scope, kg], index) => {
    if (table.rows[index]?.dataset.scope !== scope) newScope(table, index, scope);
    setText(table.rows[index].cells[1], mass(kg));
  });
}

function newScope(table, index, scope) {
  const row = table.insertRow(index);
  row.dataset.scope = scope;
  setText(row.insertCell(), `${t("batch.scope")} ${scope}`);
  row.insertCell().className = "num";
  row.insertCell().className = "share";
}

function newStep(table) {
  const row = table.insertRow();
  row.insertCell().append(document.createElement("i"), document.createTextNode(""));
  row.insertCell().className = "num";
  row.insertCell().className = "num share";
  return row;
}

if (state.running) {
  const url = `/v1/stream?site=${encodeURIComponent(state.site)}&kind=batch&id=${encodeURIComponent(state.batch)}`;
  new Stream(url, ["batch"], take, () => {});
  keepFresh(location.href, FRESH, FRESH_MS);
}
