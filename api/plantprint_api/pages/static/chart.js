// The stacked chart of emission rates by process. Unknown is drawn as hatching, never as zero.
/* global uPlot */

import { state, t, rate, stepName, stepCss, inOrder } from "./format.js";

const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const colour = (step) => css(`--${stepCss(step)}`);
const GRACE_S = 5;
const hours = new Intl.DateTimeFormat("en-GB", { timeZone: state.timezone, hour: "2-digit", minute: "2-digit", hourCycle: "h23" });

export class Trend {
  constructor(host, legend) {
    this.host = host;
    this.legend = legend;
    this.plot = null;
    this.body = null;
    this.nowS = 0;
    this.graceS = 0;
    new ResizeObserver(() => this.plot?.setSize(this.size())).observe(host);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.rebuild());
  }

  size() {
    return { width: Math.max(200, this.host.clientWidth), height: Math.max(160, this.host.clientHeight) };
  }

  // `nowS` is the site's time: after the last known bucket the chart goes on empty, and hatched where the silence
  // has lasted longer than readings take to arrive (`speed` seconds of the site pass in one of ours).
  show(body, nowS, speed, plant) {
    this.plant = plant;
    body.steps = inOrder(body.steps);
    const rebuilt = !this.plot || JSON.stringify(this.body?.steps) !== JSON.stringify(body.steps);
    this.body = body;
    this.nowS = nowS;
    this.graceS = Math.max(3 * body.bucket_s, GRACE_S * speed);
    if (rebuilt) this.rebuild();
    else this.plot.setData(this.data());
    this.drawLegend(null);
  }

  tick(nowS) {
    this.nowS = nowS;
    if (this.plot) this.plot.setScale("x", this.range());
  }

  range() {
    const at = this.body.at_ms;
    const first = at.length ? at[0] / 1000 : this.nowS - 3600;
    const last = at.length ? at[at.length - 1] / 1000 + this.body.bucket_s : this.nowS;
    const end = Math.max(last, this.nowS);
    return { min: Math.max(Math.min(first, end - 600), end - 3600), max: end };
  }

  // Cumulative from the first step up; drawn from the largest sum down, each opaque over the one before.
  data() {
    const { at_ms, steps, rate_kg_co2e_per_hour: rates } = this.body;
    const sums = [];
    let below = at_ms.map(() => 0);
    for (const step of steps) {
      below = below.map((sum, i) => (sum === null || rates[step]?.[i] == null ? null : sum + Number(rates[step][i])));
      sums.push(below);
    }
    return [at_ms.map((ms) => ms / 1000), ...sums.reverse()];
  }

  rebuild() {
    if (!this.body) return;
    this.plot?.destroy();
    const axis = { stroke: css("--soft"), grid: { stroke: css("--grid"), width: 1 }, ticks: { show: false }, font: `12px ${css("--sans")}` };
    const stepped = uPlot.paths.stepped({ align: 1 });
    const drawn = [...this.body.steps].reverse();
    this.plot = new uPlot({
      ...this.size(),
      padding: [8, 20, 0, 0],
      drawOrder: ["series", "axes"],
      cursor: { points: { show: false }, drag: { x: false, y: false }, y: false },
      legend: { show: false },
      scales: {
        x: { time: true, range: () => [this.range().min, this.range().max] },
        y: { range: (_, __, max) => [0, Math.max(1, (max ?? 0) * 1.08)] },
      },
      series: [{}, ...drawn.map((step) => ({ label: stepName(step), paths: stepped, fill: colour(step), width: 0, points: { show: false } }))],
      axes: [
        { ...axis, size: 28, space: 70, values: (_, splits) => splits.map((s) => hours.format(new Date(s * 1000))) },
        { ...axis, size: 52, values: (_, splits) => splits.map((v) => v.toLocaleString("en-US")) },
      ],
      hooks: { draw: [(plot) => this.drawGaps(plot)], setCursor: [(plot) => this.drawLegend(plot.cursor.idx)] },
    }, this.data(), this.host);
  }

  gaps() {
    const { at_ms, missing, bucket_s } = this.body;
    const runs = [];
    at_ms.forEach((ms, i) => {
      if (!missing?.[i]) return;
      const start = ms / 1000;
      const open = runs[runs.length - 1];
      if (open && start - open[1] < 0.5) open[1] = start + bucket_s;
      else runs.push([start, start + bucket_s]);
    });
    const end = at_ms.length ? at_ms[at_ms.length - 1] / 1000 + bucket_s : this.nowS;
    const open = runs[runs.length - 1];
    const sinceS = open?.[1] === end ? runs.pop()[0] : end;
    if (Math.max(end, this.nowS) - sinceS > this.graceS) runs.push([sinceS, Math.max(end, this.nowS)]);
    return runs;
  }

  drawGaps(plot) {
    const { ctx, bbox } = plot;
    ctx.save();
    ctx.beginPath();
    ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
    ctx.clip();
    for (const [start, end] of this.gaps()) {
      const x0 = Math.max(bbox.left, plot.valToPos(start, "x", true));
      const x1 = Math.min(bbox.left + bbox.width, plot.valToPos(end, "x", true));
      if (x1 - x0 < 0.5) continue;
      hatch(ctx, x0, bbox.top, x1 - x0, bbox.height);
      if (x1 - x0 > 70 * devicePixelRatio) label(ctx, (x0 + x1) / 2, bbox.top + bbox.height / 2);
    }
    ctx.restore();
  }

  drawLegend(index) {
    const { steps, at_ms, rate_kg_co2e_per_hour: rates } = this.body;
    if (index === null || index === undefined) {
      this.writeLegend(t("trend.total"), (step) => this.plant.by_step?.[step], this.plant.rate_kg_co2e_per_hour);
      return;
    }
    const values = steps.map((step) => rates[step]?.[index]);
    const known = values.every((value) => value !== null && value !== undefined);
    const total = known ? values.reduce((sum, value) => sum + Number(value), 0) : null;
    const when = `${t("trend.total")} ${hours.format(new Date(at_ms[index]))}`;
    this.writeLegend(when, (step) => rates[step]?.[index], total);
  }

  writeLegend(name, valueOf, total) {
    const items = this.body.steps.map((step) => item(stepCss(step), stepName(step), rate(valueOf(step))));
    this.legend.replaceChildren(...items, item(null, name, rate(total)));
  }
}

function item(cssName, name, text) {
  const li = document.createElement("li");
  if (cssName) li.append(Object.assign(document.createElement("i"), { className: cssName }));
  li.append(`${name} `, Object.assign(document.createElement("b"), { textContent: text }));
  return li;
}

function hatch(ctx, x, y, width, height) {
  ctx.save();
  ctx.beginPath();
  ctx.rect(x, y, width, height);
  ctx.clip();
  ctx.globalAlpha = 0.55;
  ctx.fillStyle = css("--card");
  ctx.fillRect(x, y, width, height);
  ctx.globalAlpha = 1;
  ctx.strokeStyle = css("--hatch");
  ctx.lineWidth = devicePixelRatio;
  const gap = 7 * devicePixelRatio;
  ctx.beginPath();
  // Lines start at multiples of the gap of the whole canvas, so that the pattern stands still while the gap grows.
  for (let start = Math.floor((x - height) / gap) * gap; start < x + width; start += gap) {
    ctx.moveTo(start, y + height);
    ctx.lineTo(start + height, y);
  }
  ctx.stroke();
  ctx.restore();
}

function label(ctx, x, y) {
  const text = t("trend.gap");
  ctx.font = `${12 * devicePixelRatio}px ${css("--sans")}`;
  ctx.textAlign = "center";
  ctx.textBaseline = "middle";
  const width = ctx.measureText(text).width + 14 * devicePixelRatio;
  ctx.fillStyle = css("--card");
  ctx.fillRect(x - width / 2, y - 10 * devicePixelRatio, width, 20 * devicePixelRatio);
  ctx.fillStyle = css("--soft");
  ctx.fillText(text, x, y);
}
