// Live figures from two readings of /metrics (text format of Prometheus).

import { $, color, format, formatMilliseconds, sharpen } from "./ui.js";

const KEPT = 60; // readings in a chart

/** Return the samples of a text of Prometheus: [{name, labels, value}]. */
export function parseMetrics(text) {
  return [...text.matchAll(/^([a-z_]+)(?:\{([^}]*)\})? (\S+)$/gm)].map(([, name, labels = "", value]) => ({
    name,
    labels: Object.fromEntries([...labels.matchAll(/(\w+)="([^"]*)"/g)].map(([, key, text]) => [key, text])),
    value: Number(value),
  }));
}

/** Return the sums that the figures need: requests of the operations, their latencies by bucket, queueing, items in flight. */
function totals(text) {
  const operations = new Set(["/encode", "/decode", "/reconstruct", "/denoise"]);
  const sums = { requests: 0, inflight: 0, queued: 0, queueSeconds: 0, buckets: new Map() };
  for (const { name, labels, value } of parseMetrics(text)) {
    const counted = operations.has(labels.route);
    if (name === "hourglass_requests_total" && counted) sums.requests += value;
    if (name === "hourglass_inflight_items") sums.inflight = value;
    if (name === "hourglass_stage_duration_seconds_count" && labels.stage === "queue") sums.queued += value;
    if (name === "hourglass_stage_duration_seconds_sum" && labels.stage === "queue") sums.queueSeconds += value;
    if (name === "hourglass_request_duration_seconds_bucket" && counted) {
      const bound = Number(labels.le.replace("+Inf", "Infinity"));
      sums.buckets.set(bound, (sums.buckets.get(bound) ?? 0) + value);
    }
  }
  return sums;
}

/** Return a quantile (0..1) in seconds from cumulative counts by upper bound, linear inside a bucket, or null if all are 0. */
export function quantile(share, buckets) {
  const bounds = [...buckets].sort(([a], [b]) => a - b);
  const total = bounds.at(-1)?.[1] ?? 0;
  if (!total) return null;
  let [low, below] = [0, 0];
  for (const [bound, count] of bounds) {
    if (count >= share * total) {
      if (bound === Infinity) return low;
      return low + ((bound - low) * (share * total - below)) / (count - below);
    }
    [low, below] = [bound, count];
  }
  return low;
}

export class Live {
  constructor(list) {
    this.list = list;
    this.last = null;
    this.history = { rate: [], median: [], p95: [], queue: [], inflight: [] };
  }

  /** Show the change since the last reading; `now` is in milliseconds. */
  update(text, now) {
    const sums = totals(text);
    const { last } = this;
    this.last = { sums, now };
    if (!last) return this.#show("inflight", sums.inflight, String(sums.inflight));
    const buckets = new Map([...sums.buckets].map(([bound, count]) => [bound, count - (last.sums.buckets.get(bound) ?? 0)]));
    const rate = Math.max(0, ((sums.requests - last.sums.requests) / (now - last.now)) * 1e3);
    const median = quantile(0.5, buckets);
    const p95 = quantile(0.95, buckets);
    const queued = sums.queued - last.sums.queued;
    const queue = queued > 0 ? (sums.queueSeconds - last.sums.queueSeconds) / queued : null;
    const milliseconds = (seconds) => (seconds == null ? "no request" : formatMilliseconds(seconds * 1e3));
    this.#show("rate", rate, format(rate));
    this.#show("median", median, milliseconds(median));
    this.#show("p95", p95, milliseconds(p95));
    this.#show("queue", queue, milliseconds(queue));
    this.#show("inflight", sums.inflight, String(sums.inflight));
  }

  #show(name, value, text) {
    $(`[data-live="${name}"]`, this.list).textContent = text;
    const values = this.history[name];
    values.push(value ?? 0);
    if (values.length > KEPT) values.shift();
    const { context, width, height } = sharpen($(`[data-spark="${name}"]`, this.list));
    const high = Math.max(...values, 1e-9);
    const at = (index) => [width - (values.length - 1 - index) * (width / (KEPT - 1)), height - 2 - (values[index] / high) * (height - 4)];
    context.strokeStyle = color("accent");
    context.lineWidth = 1.5;
    context.beginPath();
    values.forEach((_, index) => context.lineTo(...at(index)));
    context.stroke();
  }
}
