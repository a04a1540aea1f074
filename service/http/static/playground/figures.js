// The figures of a denoised picture: size, noise, bytes, quality, and where the milliseconds went.

import { $, element, format, formatBytes, formatMilliseconds } from "./ui.js";

const STAGES = ["decode", "queue", "run", "encode"];

/** Return the milliseconds of each stage in a Server-Timing header. */
export function readStages(header) {
  return Object.fromEntries([...(header ?? "").matchAll(/(\w+);dur=([\d.]+)/g)].map(([, name, value]) => [name, Number(value)]));
}

/** Show the figures of a picture; `result` is null before it is denoised. */
export function showFigures(item, result) {
  const set = (name, text) => ($(`#denoise-figures [data-figure="${name}"]`).textContent = text);
  const { size } = item;
  set("size", size ? `${size.width} × ${size.height}` : "–");
  set("sigma", result ? `σ ${format(result.sigma * 255)} of 255` : "–");
  set("bytes", result ? `${formatBytes(item.sent.size)} → ${formatBytes(result.blob.size)}` : "–");
  set("psnr", psnrText(result));
  set("time", result ? formatMilliseconds(result.milliseconds) : "–");
  showTiming(result);
}

/** Return the PSNR before and after; it is known only if the page has added the noise to a clean original. */
function psnrText(result) {
  if (!result?.psnr?.denoised) return "–";
  return `${result.psnr.sent.toFixed(1)} → ${result.psnr.denoised.toFixed(1)} dB`;
}

/** Show where the milliseconds went: the stages of the service, and the rest, which is the way there and back. */
function showTiming(result) {
  const bar = $("#timing");
  const legend = $("#timing-legend");
  if (!result) {
    bar.replaceChildren();
    legend.textContent = "";
    return;
  }
  const parts = STAGES.map((name) => [name, result.stages[name] ?? 0]);
  const known = parts.reduce((sum, [, value]) => sum + value, 0);
  parts.push(["other", Math.max(0, result.milliseconds - known)]);
  bar.replaceChildren(
    ...parts.map(([name, value]) => {
      const part = element("i", { className: `part-${name}` });
      part.style.flexGrow = String(value);
      return part;
    }),
  );
  const changes = [
    result.resized && `resized from ${result.resized.replace("x", " × ")}`,
    result.depth && `${result.depth} bits became 8`,
    result.dropped && `left out: ${result.dropped}`,
  ].filter(Boolean);
  legend.replaceChildren(
    ...parts.map(([name, value]) =>
      element("span", {}, element("i", { className: `part-${name}` }), `${name === "other" ? "network and browser" : name} `, element("b", { textContent: formatMilliseconds(value) })),
    ),
    ...changes.map((text) => element("span", { textContent: text })),
  );
}
