// The section Generate: digits of random codes of a variational model, sliders for its code, and digits between two drawn ones.

import { modelsWith } from "./api.js";
import { loadDigits } from "./digits.js";
import { Pad } from "./draw.js";
import { decode, encode, takesDigits } from "./operations.js";
import { normal } from "./random.js";
import { $, $$, announce, between, drawDigit, drawStrip, element, fillModels, guarded, latest } from "./ui.js";

const DRAWN = 24;
const STRIP = 9;
const REACH = 3; // sliders end at so many standard deviations
const FIRST_PAIR = { a: 30, b: 134 }; // a clear 3 and a clear 8 on the sheet of test digits

let models;
let model;
let size;
let code;
const pads = {};

export async function start() {
  models = await modelsWith((one) => one.card.family === "variational" && takesDigits(one) && one.operations.includes("decode"));
  if (!models.length) throw new Error("No variational model of digits is served. Fit the recipe digits-vae.");
  fillModels($("#generate-model"), models, "digits-vae");
  $("#generate-model").addEventListener("change", () => guarded(use));
  $("#draw-more").addEventListener("click", () => guarded(drawRandom));
  $("#code-random").addEventListener("click", () => setCode(randomCodes(1)));
  $("#code-zero").addEventListener("click", () => setCode(new Float32Array(size)));
  for (const side of ["a", "b"]) pads[side] = new Pad($(`#pad-${side}`), () => drawBetween());
  for (const button of $$("[data-clear]")) button.addEventListener("click", () => pads[button.dataset.clear].clear());
  await use();
  const { digits } = await loadDigits();
  for (const [side, index] of Object.entries(FIRST_PAIR)) pads[side].show(digits.slice(784 * index, 784 * (index + 1)));
}

export async function retry() {
  await use();
}

async function use() {
  model = models.find(({ name }) => name === $("#generate-model").value);
  size = model.card.code.shape[0];
  $("#sliders-title").textContent = `A code of ${size} numbers`;
  $("#sliders").replaceChildren(
    ...Array.from({ length: size }, (_, index) => {
      const slider = element("input", { type: "range", min: -REACH, max: REACH, step: 0.05, value: 0 });
      slider.addEventListener("input", () => {
        code[index] = Number(slider.value);
        show();
      });
      return element("label", {}, element("span", { textContent: `z${index + 1}` }), slider);
    }),
  );
  setCode(new Float32Array(size));
  await drawRandom();
  drawBetween();
}

function randomCodes(count) {
  return Float32Array.from({ length: count * size }, () => normal(Math.random));
}

function setCode(next) {
  code = Float32Array.from(next);
  $$("#sliders input").forEach((slider, index) => (slider.value = code[index]));
  show();
}

const show = latest(async () => {
  const digit = await decode(model.name, code.slice(), model.card.code.shape);
  drawDigit($("#generated"), digit);
});

async function drawRandom() {
  const codes = randomCodes(DRAWN);
  const digits = await decode(model.name, codes, model.card.code.shape);
  $("#drawn").replaceChildren(
    ...Array.from({ length: DRAWN }, (_, index) => {
      const canvas = element("canvas", { width: 28, height: 28 });
      drawDigit(canvas, digits, 784 * index);
      const button = element("button", { type: "button" }, canvas);
      button.setAttribute("aria-label", `Digit ${index + 1}: use its code`);
      button.addEventListener("click", () => {
        setCode(codes.slice(size * index, size * (index + 1)));
        announce(`The sliders show the code of digit ${index + 1}.`);
      });
      return button;
    }),
  );
}

const drawBetween = latest(async () => {
  const ends = [pads.a.digit(), pads.b.digit()];
  const both = new Uint8Array(2 * 784);
  ends.forEach((digit, index) => both.set(digit, 784 * index));
  const codes = await encode(model.name, both);
  const steps = between(codes.subarray(0, size), codes.subarray(size), STRIP);
  drawStrip($("#between"), await decode(model.name, steps, model.card.code.shape));
});
