// The section Latent space: the codes of test digits as points of a plane, and what any point decodes to.

import { modelsWith } from "./api.js";
import { loadCodes } from "./digits.js";
import { Follower } from "./follower.js";
import { decode, encode, takesDigits } from "./operations.js";
import { PlaneMap } from "./plane-map.js";
import { PlaneView } from "./plane-view.js";
import { $, announce, between, CLASS_COLORS, digitImage, drawDigit, drawStrip, element, fillModels, guarded, latest } from "./ui.js";

const STRIP = 11; // digits along a line
const TILE = 44; // smallest side of a decoded digit behind the points, in CSS pixels

let models;
let model; // the chosen model with its card
let view; // the PlaneView
let follower;
let pending = null; // the first end of a line that is set by the keyboard

export async function start() {
  models = await modelsWith((one) => one.card.code.shape.join() === "2" && takesDigits(one) && one.operations.includes("decode"));
  if (!models.length) throw new Error("No model of this service encodes a digit as two numbers. Fit the recipe digits-2d.");
  view = new PlaneView($("#plane"));
  fillModels($("#plane-model"), models, "digits-2d");
  $("#plane-model").addEventListener("change", () => guarded(use));
  $("#plane-ground").addEventListener("change", () => guarded(drawPlane));
  bindClasses();
  bindPointer();
  view.canvas.addEventListener("keydown", pressKey);
  new ResizeObserver(latest(drawPlane)).observe(view.canvas);
  document.addEventListener("theme", () => guarded(drawPlane));
  await use();
}

export async function retry() {
  await drawPlane();
}

async function use() {
  const chosen = models.find((one) => one.name === $("#plane-model").value);
  const codes = await loadCodes(chosen, encode);
  model = chosen;
  view.map = new PlaneMap(codes);
  view.line = null;
  pending = null;
  $("#plane-note").textContent = codes.note;
  follower = new Follower(
    (code) => guarded(() => decode(chosen.name, code, [2])),
    (...digit) => model === chosen && showDigit(...digit),
  );
  await drawPlane();
  const ends = view.map.farthestCentres();
  moveTo(ends[0]);
  await setLine(...ends);
}

// The plane

async function drawPlane() {
  const { width, height } = view.canvas.getBoundingClientRect();
  if (!view.map || !width) return;
  const kind = $("#plane-ground").value;
  view.smooth = kind !== "digits";
  view.ground = null;
  if (kind === "digits") view.ground = await decodedMap(width, height);
  else if (kind === "gaps") view.ground = view.map.hatchedGaps(width, height);
  view.draw();
}

/** Return a canvas of the digits that an even grid of codes decodes to. */
async function decodedMap(width, height) {
  const columns = Math.max(4, Math.floor(width / TILE));
  const rows = Math.max(4, Math.floor(height / TILE));
  const digits = await decode(model.name, view.map.grid(columns, rows), [2]);
  const canvas = new OffscreenCanvas(28 * columns, 28 * rows);
  const context = canvas.getContext("2d");
  for (let cell = 0; cell < columns * rows; cell++) {
    context.putImageData(digitImage(digits, 784 * cell), 28 * (cell % columns), 28 * Math.floor(cell / columns));
  }
  return canvas;
}

// The point at the cursor

function moveTo(point) {
  view.point = point;
  redraw();
  follower.follow(Float32Array.from(point));
}

function redraw() {
  view.redraw(() => {
    $('[data-plane="point"]').textContent = view.point.map((value) => value.toFixed(2)).join(", ");
    $('[data-plane="near"]').textContent = view.map.describe(view.point);
  });
}

function showDigit(digit, code, rate) {
  view.decoded = $("#decoded");
  drawDigit(view.decoded, digit);
  view.decoded.dataset.point = [...code].join();
  if (rate) $('[data-plane="rate"]').textContent = `${rate} digits a second`;
  redraw();
}

// Lines

async function setLine(first, last) {
  view.line = [first, last];
  redraw();
  await drawLineDigits(first, last);
}

const drawLineDigits = latest(async (first, last) => {
  const codes = between(first, last, STRIP);
  drawStrip($("#latent-strip"), await decode(model.name, codes, [2]));
  const gaps = Array.from({ length: STRIP }, (_, step) => view.map.isGap(codes.subarray(2 * step, 2 * step + 2))).filter(Boolean).length;
  $("#latent-strip-note").textContent = `${STRIP} points in even steps, ${gaps || "none"} of them in a gap.`;
});

function bindPointer() {
  const { canvas } = view;
  let from = null;
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    from = { code: view.map.codeAt(event, canvas), x: event.clientX, y: event.clientY };
    moveTo(from.code);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!view.map) return;
    const code = view.map.codeAt(event, canvas);
    moveTo(code);
    if (from && Math.hypot(event.clientX - from.x, event.clientY - from.y) > 8) setLine(from.code, code);
  });
  for (const type of ["pointerup", "pointercancel"]) canvas.addEventListener(type, () => (from = null));
}

function pressKey(event) {
  const size = event.shiftKey ? 0.05 : 0.01;
  const moves = { ArrowLeft: [-size, 0], ArrowRight: [size, 0], ArrowUp: [0, -size], ArrowDown: [0, size] };
  if (moves[event.key]) {
    moveTo(view.map.step(view.point, moves[event.key]));
    announce(view.map.describe(view.point));
  } else if (event.key === "Enter" || event.key === " ") {
    if (pending) setLine(pending, view.point);
    announce(pending ? "The line is drawn." : "This is the start of a line. Move, and press Enter again.");
    pending = pending ? null : view.point;
  } else return;
  event.preventDefault();
}

function bindClasses() {
  $("#plane-classes").replaceChildren(
    ...CLASS_COLORS.map((shade, label) => {
      const button = element("button", { type: "button", textContent: String(label) });
      button.style.borderBottomColor = shade;
      button.setAttribute("aria-pressed", "true");
      button.addEventListener("click", () => {
        const hidden = !view.hidden.delete(label);
        if (hidden) view.hidden.add(label);
        button.setAttribute("aria-pressed", String(!hidden));
        view.draw();
      });
      return button;
    }),
  );
}
