// The section Reconstruct: a drawn digit, its code, its reconstruction, and for sparse codes what each active unit draws.

import { modelsWith } from "./api.js";
import { loadDigits } from "./digits.js";
import { Pad } from "./draw.js";
import { decode, encode, reconstruct, takesDigits } from "./operations.js";
import { $, color, drawDifference, drawDigit, element, fillModels, format, guarded, latest, meanSquaredError, sharpen } from "./ui.js";

const MAX_UNITS = 120; // units that are shown of a sparse code
const FIRST_UNITS = 48; // of them, before the button is pressed; full rows of 4, 8, 12, 16 and 24
const SPARSE_SHARE = 0.3; // a code counts as sparse if fewer of its units are active
const ACTIVE = 1e-3; // a unit is active above this share of the strongest one

let models;
let model;
let pad;
let state = null; // {digit, code, restored, active, off} of the present drawing
let samples = 0;

export async function start() {
  models = await modelsWith((one) => takesDigits(one) && ["encode", "decode", "reconstruct"].every((name) => one.operations.includes(name)));
  if (!models.length) throw new Error("No model of this service reconstructs digits. Fit the recipe digits.");
  fillModels($("#reconstruct-model"), models, "digits-sparse");
  pad = new Pad($("#pad"), latest(update));
  $("#pad-clear").addEventListener("click", () => pad.clear());
  $("#pad-sample").addEventListener("click", () => guarded(showSample));
  $("#pad-noise").addEventListener("click", () => pad.show(Uint8Array.from({ length: 784 }, () => Math.random() * 256)));
  $("#reconstruct-model").addEventListener("change", choose);
  $("#units-all").addEventListener("click", () => switchAll());
  $("#units-more").addEventListener("click", () => showMoreUnits(true));
  document.addEventListener("theme", () => state && drawBars());
  new ResizeObserver(() => state && drawBars()).observe($("#code-bars"));
  choose();
  await showSample();
}

export async function retry() {
  pad.onChange(pad.digit());
}

function choose() {
  model = models.find(({ name }) => name === $("#reconstruct-model").value);
  if (state) pad.onChange(pad.digit());
}

async function showSample() {
  const { digits } = await loadDigits();
  pad.show(digits.slice(784 * samples, 784 * (samples + 1)));
  samples = (samples + 7) % (digits.length / 784);
}

async function update(digit) {
  const chosen = model;
  const [answer, code] = await Promise.all([reconstruct(chosen.name, digit), encode(chosen.name, digit)]);
  const strongest = code.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  const active = [...code.keys()].filter((unit) => Math.abs(code[unit]) > ACTIVE * strongest);
  active.sort((a, b) => Math.abs(code[b]) - Math.abs(code[a]));
  state = { digit, code, active, off: new Set(), restored: answer.digit };
  showRestored(answer.digit, answer);
  drawBars();
  const sparse = chosen.card.code.shape.length === 1 && active.length < SPARSE_SHARE * code.length;
  $("#units-panel").hidden = !sparse;
  if (sparse) await drawUnits(chosen);
}

/** Show a reconstruction, and its figures; `figures` are those of the service, or null if units are switched off. */
function showRestored(restored, figures) {
  const { digit } = state;
  const mse = figures?.mse ?? meanSquaredError(digit, restored);
  const set = (name, text) => ($(`[data-rebuilt="${name}"]`).textContent = text);
  drawDigit($("#rebuilt"), restored);
  drawDifference($("#difference"), digit, restored);
  set("mse", mse.toPrecision(3));
  set("psnr", mse ? `${(-10 * Math.log10(mse)).toFixed(1)} dB` : "identical");
  const share = figures?.error_percentile ?? percentile(mse);
  set("percentile", `more unusual than ${Math.min(99.9, share).toFixed(share > 99 ? 1 : 0)} % of the test digits`);
}

/** Return the share of held-out digits (0..100) with a smaller error, as the service computes it from the card. */
function percentile(mse) {
  const errors = model.card.error_percentiles;
  const above = errors.findIndex((error) => error > mse);
  if (above < 0) return 100;
  if (above === 0) return 0;
  return above - 1 + (mse - errors[above - 1]) / (errors[above] - errors[above - 1]);
}

function drawBars() {
  const { code, off, active } = state;
  const { context, width, height } = sharpen($("#code-bars"));
  const low = Math.min(0, ...code);
  const high = Math.max(0, ...code);
  const scale = (height - 2) / (high - low || 1);
  const zero = 1 + high * scale;
  const step = width / code.length;
  for (const [unit, value] of code.entries()) {
    context.fillStyle = off.has(unit) ? color("bad") : color("accent");
    context.fillRect(unit * step, value > 0 ? zero - value * scale : zero, Math.max(1, step - (step > 4 ? 2 : 0)), Math.abs(value) * scale);
  }
  context.fillStyle = color("edge");
  context.fillRect(0, zero - 0.5, width, 1);
  $("#code-note").textContent = `${code.length.toLocaleString("en")} numbers, ${active.length} of them active, from ${format(low)} to ${format(high)}.`;
}

/** Show for each active unit what it changes: the digit of this unit alone, compared with that of a code of zeros. */
async function drawUnits(chosen) {
  const { code, active } = state;
  const units = active.slice(0, MAX_UNITS);
  const codes = new Float32Array(code.length * (units.length + 1));
  units.forEach((unit, index) => (codes[code.length * (index + 1) + unit] = code[unit]));
  const drawn = await decode(chosen.name, codes, chosen.card.code.shape);
  const digit = (index) => drawn.subarray(784 * index, 784 * (index + 1));
  const strongest = active.length > units.length ? `These are the ${units.length} strongest. ` : "";
  $("#units-note").textContent =
    `${active.length} of ${code.length.toLocaleString("en")} units are active. ${strongest}` +
    "Each picture shows what one unit changes, on a scale of its own: orange is light that it adds, blue is light that it takes away. " +
    "Below it stand the number of the unit and its activation. Switch a unit off to see the digit without it.";
  $("#units").replaceChildren(...units.map((unit, index) => unitButton(unit, digit(index + 1), digit(0))));
  $("#units-more").textContent = `Show all ${units.length}`;
  showMoreUnits(units.length <= FIRST_UNITS);
}

function unitButton(unit, drawn, nothing) {
  const activation = format(state.code[unit]);
  const canvas = element("canvas");
  drawDifference(canvas, drawn, nothing, true);
  const button = element("button", { type: "button", data: { unit } }, canvas, `${unit}`, element("small", { textContent: activation }));
  button.setAttribute("aria-label", `Unit ${unit}, activation ${activation}`);
  button.setAttribute("aria-pressed", "true");
  button.addEventListener("click", () => {
    const off = !state.off.delete(unit);
    if (off) state.off.add(unit);
    button.setAttribute("aria-pressed", String(!off));
    redecode();
  });
  return button;
}

/** Show all units, or only the strongest and a button for the others. */
function showMoreUnits(all) {
  [...$("#units").children].forEach((button, index) => (button.hidden = !all && index >= FIRST_UNITS));
  $("#units-more").hidden = all;
}

function switchAll() {
  state.off.clear();
  for (const button of $("#units").children) button.setAttribute("aria-pressed", "true");
  redecode();
}

const redecode = latest(async () => {
  const code = state.code.slice();
  for (const unit of state.off) code[unit] = 0;
  drawBars();
  showRestored(await decode(model.name, code, model.card.code.shape), null);
});
