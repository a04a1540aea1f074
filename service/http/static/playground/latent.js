// The section Latent space: the codes of test digits as points of a plane, and what any point decodes to.

import { decode, encode, fromNpy, modelsWith, send, takesDigits, toNpy } from "./api.js";
import { loadCodes } from "./digits.js";
import { PlaneMap } from "./plane-map.js";
import { $, announce, between, CLASS_COLORS, color, digitImage, drawDigit, drawStrip, element, fillModels, guarded, latest, sharpen } from "./ui.js";

const STRIP = 11; // digits along a line
const TILE = 44; // smallest side of a decoded digit behind the points, in CSS pixels
const IN_FLIGHT = 4; // requests sent before the first is answered, so that a slow network still gives 30 pictures a second
const NPY = "application/x-npy";

let model; // the chosen model with its card
let map = null; // the PlaneMap of its codes
let plane; // the canvas
let ground = null; // what is behind the points, as a canvas
let points = null; // the ground and the points as a canvas, which stays the same while the cursor moves
let decoded = null; // the canvas with the digit at the cursor
let point = [0, 0];
let line = null; // the ends of the line
let pending = null; // the first end of a line that is set by the keyboard
const hiddenClasses = new Set();

export async function start() {
  const models = await modelsWith((one) => one.card.code.shape.join() === "2" && takesDigits(one) && one.operations.includes("decode"));
  if (!models.length) throw new Error("No model of this service encodes a digit as two numbers. Fit the recipe digits-2d.");
  plane = $("#plane");
  fillModels($("#plane-model"), models, "digits-2d");
  $("#plane-model").addEventListener("change", () => guarded(() => use(models)));
  $("#plane-ground").addEventListener("change", () => guarded(drawGround));
  bindClasses();
  bindPointer();
  plane.addEventListener("keydown", pressKey);
  new ResizeObserver(latest(drawGround)).observe(plane);
  document.addEventListener("theme", () => guarded(drawGround));
  await use(models);
}

export async function retry() {
  await drawGround();
}

async function use(models) {
  model = models.find((one) => one.name === $("#plane-model").value);
  const codes = await loadCodes(model, encode);
  map = new PlaneMap(codes);
  line = null;
  pending = null;
  $("#plane-note").textContent = codes.note;
  await drawGround();
  moveTo(map.middle);
  await setLine(...map.farthestCentres());
}

// Drawing

async function drawGround() {
  const { width, height } = plane.getBoundingClientRect();
  if (!map || !width) return;
  const kind = $("#plane-ground").value;
  ground = null;
  if (kind === "digits") ground = await decodedMap(width, height);
  else if (kind === "gaps") ground = map.hatchedGaps(width, height);
  drawPlane();
}

/** Return a canvas of the digits that an even grid of codes decodes to. */
async function decodedMap(width, height) {
  const columns = Math.max(4, Math.floor(width / TILE));
  const rows = Math.max(4, Math.floor(height / TILE));
  const digits = await decode(model.name, map.grid(columns, rows), [2]);
  const canvas = new OffscreenCanvas(28 * columns, 28 * rows);
  const context = canvas.getContext("2d");
  for (let cell = 0; cell < columns * rows; cell++) {
    context.putImageData(digitImage(digits, 784 * cell), 28 * (cell % columns), 28 * Math.floor(cell / columns));
  }
  return canvas;
}

function drawPlane() {
  const { context, width, height } = sharpen(plane);
  if (ground) {
    context.imageSmoothingEnabled = $("#plane-ground").value !== "digits";
    context.drawImage(ground, 0, 0, width, height);
  }
  const radius = Math.max(1.25, Math.min(2.5, width / 450));
  context.globalAlpha = 0.8;
  for (let label = 0; label < 10; label++) {
    if (hiddenClasses.has(label)) continue;
    context.fillStyle = CLASS_COLORS[label];
    context.beginPath();
    for (let index = 0; index < map.labels.length; index++) {
      if (map.labels[index] !== label) continue;
      const [x, y] = map.place(index, { width, height });
      context.moveTo(x + radius, y);
      context.arc(x, y, radius, 0, 7);
    }
    context.fill();
  }
  points = new OffscreenCanvas(plane.width, plane.height);
  points.getContext("2d").drawImage(plane, 0, 0);
  drawOverlay();
}

/** Draw the points, and above them what moves: the line, the cursor and its digit. */
function drawOverlay() {
  if (!points) return;
  const screen = plane.getBoundingClientRect();
  const context = plane.getContext("2d");
  context.save();
  context.setTransform(1, 0, 0, 1, 0, 0);
  context.globalAlpha = 1;
  context.clearRect(0, 0, plane.width, plane.height);
  context.drawImage(points, 0, 0);
  context.restore();
  context.globalAlpha = 1;
  if (line) drawLine(context, screen);
  drawCentres(context, screen);
  drawCursor(context, screen);
  drawDecoded(context, screen);
}

function drawCentres(context, screen) {
  context.font = "700 17px system-ui, sans-serif";
  context.textAlign = "center";
  context.textBaseline = "middle";
  context.lineWidth = 5;
  context.lineJoin = "round";
  context.strokeStyle = color("panel");
  context.fillStyle = color("ink");
  map.centres.forEach((centre, label) => {
    if (!centre || hiddenClasses.has(label)) return;
    const [x, y] = map.toScreen(centre, screen);
    context.strokeText(String(label), x, y);
    context.fillText(String(label), x, y);
  });
}

function drawLine(context, screen) {
  const ends = line.map((end) => map.toScreen(end, screen));
  for (const [style, width] of [[color("panel"), 6], [color("sand"), 3]]) {
    context.strokeStyle = style;
    context.lineWidth = width;
    context.beginPath();
    for (const end of ends) context.lineTo(...end);
    context.stroke();
  }
  context.fillStyle = color("sand");
  for (const [x, y] of ends) {
    context.beginPath();
    context.arc(x, y, 6, 0, 7);
    context.fill();
  }
}

function drawCursor(context, screen) {
  const [x, y] = map.toScreen(point, screen);
  for (const [style, width] of [[color("panel"), 5], [color("ink"), 2]]) {
    context.strokeStyle = style;
    context.lineWidth = width;
    context.beginPath();
    context.arc(x, y, 9, 0, 7);
    context.stroke();
  }
}

/** Draw the decoded digit beside the cursor. */
function drawDecoded(context, screen) {
  if (!decoded) return;
  const [x, y] = map.toScreen(point, screen);
  const side = Math.min(96, screen.width / 4);
  const left = x + 18 + side > screen.width ? x - 18 - side : x + 18;
  const top = Math.min(screen.height - side - 6, Math.max(6, y - 18 - side));
  context.imageSmoothingEnabled = false;
  context.drawImage(decoded, left, top, side, side);
  context.strokeStyle = color("edge");
  context.lineWidth = 1.5;
  context.strokeRect(left, top, side, side);
}

// The point under the cursor

const arrivals = []; // when the digits of the last second came
let inFlight = 0;
let sent = 0;
let shown = 0;
let queued = null;
let frame = 0;

/** Decode the point under the cursor. Points that the service cannot follow are left out, and late answers are ignored. */
function moveTo(next) {
  point = next;
  queued = Float32Array.from(next);
  redraw();
  request();
}

function redraw() {
  frame ||= requestAnimationFrame(() => {
    frame = 0;
    drawOverlay();
    $('[data-plane="point"]').textContent = point.map((value) => value.toFixed(2)).join(", ");
    $('[data-plane="near"]').textContent = map.describe(point);
  });
}

async function request() {
  if (!queued || inFlight >= IN_FLIGHT) return;
  const code = queued;
  queued = null;
  inFlight++;
  const number = ++sent;
  await guarded(async () => {
    const answer = await send("decode", { query: { model: model.name }, body: toNpy(code, [1, 2]), type: NPY, accept: NPY });
    if (number < shown) return;
    shown = number;
    decoded = $("#decoded");
    drawDigit(decoded, fromNpy(answer.body).values);
    decoded.dataset.point = [...code].join();
    redraw();
    countArrival();
  });
  inFlight--;
  request();
}

function countArrival() {
  const now = performance.now();
  arrivals.push(now);
  while (arrivals[0] < now - 1000) arrivals.shift();
  $('[data-plane="rate"]').textContent = String(arrivals.length);
}

// Lines

async function setLine(first, last) {
  line = [first, last];
  drawOverlay();
  await drawLineDigits(first, last);
}

const drawLineDigits = latest(async (first, last) => {
  const codes = between(first, last, STRIP);
  drawStrip($("#latent-strip"), await decode(model.name, codes, [2]));
  const gaps = Array.from({ length: STRIP }, (_, step) => map.isGap(codes.subarray(2 * step, 2 * step + 2))).filter(Boolean).length;
  $("#latent-strip-note").textContent = `${STRIP} points in even steps, ${gaps || "none"} of them in a gap.`;
});

function bindPointer() {
  let from = null;
  plane.addEventListener("pointerdown", (event) => {
    plane.setPointerCapture(event.pointerId);
    from = { code: map.codeAt(event, plane), x: event.clientX, y: event.clientY };
    moveTo(from.code);
  });
  plane.addEventListener("pointermove", (event) => {
    if (!map) return;
    const code = map.codeAt(event, plane);
    moveTo(code);
    if (from && Math.hypot(event.clientX - from.x, event.clientY - from.y) > 8) setLine(from.code, code);
  });
  for (const type of ["pointerup", "pointercancel"]) plane.addEventListener(type, () => (from = null));
}

function pressKey(event) {
  const size = event.shiftKey ? 0.05 : 0.01;
  const moves = { ArrowLeft: [-size, 0], ArrowRight: [size, 0], ArrowUp: [0, -size], ArrowDown: [0, size] };
  if (moves[event.key]) {
    moveTo(map.step(point, moves[event.key]));
    announce(map.describe(point));
  } else if (event.key === "Enter" || event.key === " ") {
    if (pending) setLine(pending, point);
    announce(pending ? "The line is drawn." : "This is the start of a line. Move, and press Enter again.");
    pending = pending ? null : point;
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
        const hidden = !hiddenClasses.delete(label);
        if (hidden) hiddenClasses.add(label);
        button.setAttribute("aria-pressed", String(!hidden));
        drawPlane();
      });
      return button;
    }),
  );
}
